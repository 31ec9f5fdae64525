"""Mistakes of a request that have a status of their own; others are a ValueError."""


class MissingError(ValueError):
    """There is no such job, file or upload."""


class StateError(ValueError):
    """A job is not in the state that a request needs."""


class BusyError(ValueError):
    """The queue is full."""
