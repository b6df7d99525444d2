"""Texts for logs without the secrets that clients put where none belongs: tokens, and what a provider has signed.

People paste a token as the user's name, into an address or a path; then it would stand in the log that names who was
refused, or what was asked for. The id of a token stays, which is no secret and says which one to revoke. Passwords look
like nothing in particular: they are never given to a log, and cannot be found in one. Pure; any thread.
"""

import re
from typing import Final

from auth.tokens import ID_LENGTH, PREFIX

_TOKEN: Final = re.compile(rf"({PREFIX}[a-z2-7]{{{ID_LENGTH}}}_)[a-z2-7]+", re.ASCII | re.IGNORECASE)
_SIGNED: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*", re.ASCII)  # {" as base64
_TOLD: Final = "..."


def without_secrets(text: str) -> str:
    """Return a text in which `...` stands for each secret that can be told by its form."""
    if PREFIX in text.lower():
        text = _TOKEN.sub(rf"\1{_TOLD}", text)
    return _SIGNED.sub(_TOLD, text) if "eyJ" in text else text
