"""What the gateway's own objects, and a gateway that is asked, say no with. `gateway.exits` decides the exit codes.

Values; any thread. Messages are finished, and never hold a secret.
"""


class GatewayError(Exception):
    """Root of the errors below."""


class TokenMissing(GatewayError):
    """There is no such token, or none that the one who asks may know of."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no token {name!r}; `aetherfs token ls` shows those there are")


class TokenTaken(GatewayError):
    """A token of that name is good already."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is a token {name!r} already: take another name, or revoke it first")


class ServerRefused(GatewayError):
    """A gateway wants a login, or does not allow what was asked; or it may not be told a login."""


class ServerMissing(GatewayError):
    """A gateway has no such thing, or does not show it."""


class ServerConflict(GatewayError):
    """A gateway found that something is there already, or was changed meanwhile."""


class ServerUnusable(GatewayError):
    """A gateway cannot make sense of what it was asked, or of its own address."""


class ServerUnreachable(GatewayError):
    """A gateway does not answer, or cannot at the moment."""


class ServerFailed(GatewayError):
    """A gateway failed, or answered what no gateway would."""
