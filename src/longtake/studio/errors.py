"""Errors of requests that have an HTTP status of their own; others are a ValueError (422)."""


class MissingError(ValueError):
    """There is no such job, file or upload (404)."""


class StateError(ValueError):
    """A job is not in the state that a request needs (409)."""


class BusyError(ValueError):
    """Too many jobs wait already (429)."""
