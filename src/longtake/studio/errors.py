"""Errors of requests that have an HTTP status of their own; others are a ValueError (422)."""


class MissingError(ValueError):
    """There is no such job, file or upload (HTTP status 404)."""


class StateError(ValueError):
    """A job is not in the state that a request needs (HTTP status 409)."""


class BusyError(ValueError):
    """Too many jobs wait, or the studio's folder is too large (HTTP status 429)."""
