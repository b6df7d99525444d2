"""The Range header in bytes (RFC 9110 section 14). Pure functions; any thread."""

import re
from typing import Final, NamedTuple

_SPEC = re.compile(r"[ \t]*bytes[ \t]*=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.IGNORECASE)
_DIGITS: Final = 18  # more is past the end of any file, and int() of thousands of digits costs


class ByteRange(NamedTuple):
    """Bytes `start` to `stop`, `stop` not included; never empty."""

    start: int
    stop: int


class Unsatisfiable(NamedTuple):
    """No byte of the range exists: 416."""

    size: int


def parse_range(header: str | None, size: int) -> ByteRange | Unsatisfiable | None:
    """Return what a Range header asks of a file of `size` bytes; `None`: answer the whole file.

    Whole is the answer to no header, to other units, to what does not parse (all three as section 14.2 has it), to
    several ranges at once, which a server may refuse to split, and to a suffix of an empty file.
    """
    found = _SPEC.fullmatch(header) if header is not None else None
    if found is None or not (found[1] or found[2]):
        return None
    first, last = _number(found[1]), _number(found[2])
    if first is None:
        if last == 0:
            return Unsatisfiable(size)
        return ByteRange(max(0, size - (last or 0)), size) if size else None
    if last is not None and last < first:
        return None
    if first >= size:
        return Unsatisfiable(size)
    return ByteRange(first, size if last is None else min(last + 1, size))


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return 10**_DIGITS if len(digits) > _DIGITS else int(digits)
