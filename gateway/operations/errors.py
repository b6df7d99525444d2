"""Why an operation was not done, where it is neither the store's doing nor the gateway's own objects'.

Each front end has a table of its own for them (`gateway.web.api.problems`, `gateway.rpc.codes`), which tests hold
against this list. Messages are finished, are for who asked, and never hold a secret. Values; any thread.
"""

from typing import Final

LOG_IN: Final = "log in: with user and password, or with a token as the password or as Bearer"


class OperationError(Exception):
    """Root of the errors below."""


class LoginNeeded(OperationError):
    """Whoever asks did not log in, and may not do this without."""

    def __init__(self) -> None:
        super().__init__(LOG_IN)


class NotAllowed(OperationError):
    """Whoever asks may know of it, but lacks a right."""


class BadArgument(OperationError):
    """What was asked for can't be understood."""


class BadWish(OperationError):
    """What was asked for is understood, and makes no sense."""


class ConditionFailed(OperationError):
    """What was to be changed is not what it was to be under the condition that came along."""


class OutOfRange(OperationError):
    """A part of a file was asked for that begins behind its end."""
