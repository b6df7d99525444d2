"""Which of several forms a client would rather have: `Accept` (RFC 9110 section 12.5.1). Pure; any thread."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9a-z-]+"  # noqa: S105  # of a grammar
_RANGE: Final = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})[ \t]*((?:;.*)?)")
_WEIGHT: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")
RANGES: Final = 64  # of one field that are looked at; browsers name eight


class _Liking(NamedTuple):
    weight: float  # 0: not acceptable
    exact: int  # 0: `*/*`, 1: `type/*`, 2: the type itself


def best_of(accept: str | None, offered: Sequence[str]) -> str:
    """Return which media type is liked best.

    Args:
        accept: the field's value; `None`: anything.
        offered: media types in lower case, without parameters. Of those liked alike the one that is named more exactly
            wins, then the first, which is also given to whoever likes none: a person can read it.
    """
    liked = [_liking(accept, media_type) for media_type in offered]
    return offered[liked.index(max(liked))]


def _liking(accept: str | None, media_type: str) -> _Liking:
    """Tell how a type is liked: by the most exact range that it fits."""
    kind, _, subtype = media_type.partition("/")
    found = _Liking(0.0, -1)
    for part in (accept or "*/*").lower().split(",", RANGES)[:RANGES]:
        named = _RANGE.fullmatch(part)
        if named is None or named[1] not in ("*", kind) or named[2] not in ("*", subtype):
            continue
        exact = (named[1] != "*") + (named[2] != "*")
        if exact > found.exact:
            found = _Liking(_weight(named[3]), exact)
    return found if found.weight else _Liking(0.0, -1)


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";")[1:]:
        found = _WEIGHT.fullmatch(parameter)
        if found is not None:
            return float(found[1])
    return 1.0
