"""What a client would rather have: `Prefer` and `Brief` (RFC 7240, RFC 8144), `Accept-Encoding` (RFC 9110).

Pure; any thread.
"""

import re
from typing import Final

_PREFERENCE: Final = re.compile(r'[ \t]*([!#$%&\'*+.^`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*("[^"]*"|[^",; \t]*))?')
_PART: Final = re.compile(r'(?:[^",]++|"(?:[^"\\]|\\.)*+"?)++')  # a comma inside quotes ends nothing
_CODING: Final = re.compile(r"[ \t]*([!#$%&'*+.^`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?)[ \t]*)?")


def prefers_minimal(value: str | None) -> bool:
    """Tell whether a `Prefer` header asks for `return=minimal`; of several `return`s the first counts."""
    for part in _PART.findall(value or ""):
        found = _PREFERENCE.match(part)
        if found is not None and found[1].lower() == "return":
            return (found[2] or "").strip('"') == "minimal"
    return False


def is_brief(value: str | None) -> bool:
    """Tell whether a `Brief` header, which is older and means the same, says `t`."""
    return value is not None and value.strip().lower() == "t"


def accepts_gzip(value: str | None) -> bool:
    """Tell whether an `Accept-Encoding` header allows gzip, and likes the plain form no better (section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in (value or "").lower().split(","):
        found = _CODING.fullmatch(part)
        if found is not None:
            weights.setdefault("gzip" if found[1] == "x-gzip" else found[1], float(found[2] or 1))
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
