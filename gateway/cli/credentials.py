"""With what a command logs in to a gateway. Nothing here is ever printed."""

import os
import re
import time
from typing import Final

from gateway.cli.logins import OIDC, SERVICE_ACCOUNT, Saved, find_login, keep_login, locked

TOKEN_VARIABLE: Final = "AETHERFS_TOKEN"  # noqa: S105  # a variable's name
LONGEST: Final = 16 << 10  # characters
EARLY_S: Final = 60.0  # a login is renewed so long before it ends
_WORD: Final = re.compile(r"[!-~]+", re.ASCII)  # what can stand in a header field


def bearer_for(server: str) -> str | None:
    """Return what is sent as `Authorization: Bearer` to a gateway; `None`: nothing is known for it.

    `AETHERFS_TOKEN` wins; else what `aetherfs login` has saved, renewed where it is about to end.

    Args:
        server: the gateway, as `gateway.client.parse_server` spells it.

    Raises:
        ConfigError: `AETHERFS_TOKEN` holds what can't be a token (the message does not repeat it), or the saved logins
            can't be used.
        ServerRefused: the login is over, and cannot be renewed.
        ServerUnreachable: the provider does not answer.
    """
    from gateway.config import ConfigError

    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return _saved_bearer(server)
    if len(token) > LONGEST or not _WORD.fullmatch(token):
        raise ConfigError(f"{TOKEN_VARIABLE} holds something that is no token: blanks, control characters or too much")
    return token


def _saved_bearer(server: str) -> str | None:
    saved = find_login(server)
    if saved is None:
        return None
    if not _due(saved):
        return saved.bearer
    with locked():
        saved = find_login(server)  # another command may have renewed it
        if saved is None:
            return None
        if _due(saved):
            from gateway.cli.provider_login import renew

            saved = renew(server, saved)
            keep_login(server, saved)
    return saved.bearer


def _due(saved: Saved) -> bool:
    """Tell whether a login is about to end and could be renewed."""
    renewable = bool(saved.refresh) if saved.kind == OIDC else saved.kind == SERVICE_ACCOUNT
    return renewable and 0 < saved.expires_s <= time.time() + EARLY_S
