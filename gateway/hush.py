"""Texts for logs without the secrets that clients put where none belongs: tokens, what providers sign, URLs' passwords.

People paste a token as the user's name, into an address or a path; then it would stand in the log that names who was
refused, or what was asked for. The id of a token stays, which is no secret and says which one to revoke. Passwords look
like nothing in particular but before a host in a URL, or behind their name in a query: they are never given to a log,
and cannot be found in one. Pure; any thread.
"""

import re
from typing import Final

from auth.tokens import ID_LENGTH, PREFIX

_BREAK: Final = "(?:_|%5f)"  # in targets, which are written down as they came, escaped or not
_TOKEN: Final = re.compile(  # also one that was mistyped: who knows its form could mend it
    rf"({PREFIX[:-1]}{_BREAK}[a-z0-9]{{{ID_LENGTH - 2},{ID_LENGTH + 2}}}{_BREAK})(?:[a-z0-9]|{_BREAK})+",
    re.ASCII | re.IGNORECASE,
)
_IN_URL: Final = re.compile(
    r"(//[^\s/?#@:\"']*:)[^\s/?#@\"']*@"
)  # the password before a host (RFC 3986 section 3.2.1), also where the scheme is left out (section 4.2)
_ASKED: Final = re.compile(  # a value of a query that goes by the name of a secret; of a token the id stays
    r"([?&](?:password|passwd|pwd|secret|client_secret|(?:access_|refresh_|id_|auth_)?token|api_?key)=)"
    rf"(?!{PREFIX[:-1]}{_BREAK})[^&#\s\"']+",
    re.ASCII | re.IGNORECASE,
)
_SIGNED: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*", re.ASCII)  # {" as base64
_TOLD: Final = "..."


def without_secrets(text: str) -> str:
    """Return a text in which `...` stands for each secret that can be told by its form."""
    if PREFIX[:-1] in text.lower():
        text = _TOKEN.sub(rf"\1{_TOLD}", text)
    if "@" in text and "//" in text:
        text = _IN_URL.sub(rf"\1{_TOLD}@", text)
    if "=" in text:
        text = _ASKED.sub(rf"\1{_TOLD}", text)
    return _SIGNED.sub(_TOLD, text) if "eyJ" in text else text
