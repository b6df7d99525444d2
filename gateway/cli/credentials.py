"""With what a command logs in to a gateway. Nothing here is ever printed."""

import os
import re
from typing import Final

TOKEN_VARIABLE: Final = "AETHERFS_TOKEN"  # noqa: S105  # a variable's name
LONGEST: Final = 16 << 10  # characters
_WORD: Final = re.compile(r"[!-~]+", re.ASCII)  # what can stand in a header field


def bearer_for(server: str) -> str | None:
    """Return what is sent as `Authorization: Bearer` to a gateway; `None`: nothing is known for it.

    Args:
        server: the gateway, as `gateway.client.parse_server` spells it.

    Raises:
        ConfigError: `AETHERFS_TOKEN` holds what can't be a token. The message does not repeat it.
    """
    from gateway.config import ConfigError

    del server  # a token in the environment is for whatever gateway is named beside it
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return None
    if len(token) > LONGEST or not _WORD.fullmatch(token):
        raise ConfigError(f"{TOKEN_VARIABLE} holds something that is no token: blanks, control characters or too much")
    return token
