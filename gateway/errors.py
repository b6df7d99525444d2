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


class CertificateTaken(GatewayError):
    """A file lies where a certificate, or its key, is to go."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is there already: --force replaces it, --out names another folder")


class UserMissing(GatewayError):
    """The file of users has no user of that name."""

    def __init__(self, name: str, file: str) -> None:
        self.name, self.file = name, file
        super().__init__(f"no user {name!r} in {file}; `aetherfs user ls` shows those there are")


class UserTaken(GatewayError):
    """The file of users has a user of that name already."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is a user {name!r} already: `aetherfs user passwd` changes the password")


class PolicyMissing(GatewayError):
    """There is no policy."""

    def __init__(self, store: str) -> None:
        self.store = store
        super().__init__(f"{store} has no policy: `aetherfs policy set FILE` puts one there")


class PolicyMoved(GatewayError):
    """The policy was changed by another since it was looked at."""

    def __init__(self, expected: str, actual: str, by: str) -> None:
        self.expected, self.actual, self.by = expected, actual, by
        was, now = (f"{digest[:12]}" if digest else "absent" for digest in (expected, actual))
        who = f", by {by}" if by else ""
        super().__init__(f"the policy was expected to be {was} but is {now}{who}: look at it and try again")


class ServerRefused(GatewayError):
    """A gateway does not allow what was asked, or may not be told a login."""


class LoginWanted(ServerRefused):
    """A gateway does not take the login that it was shown, or was shown none (401)."""


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
