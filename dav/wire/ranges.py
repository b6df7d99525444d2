"""The Range header in bytes, and answers of several ranges (RFC 9110 section 14). Pure functions; any thread."""

import re
from hashlib import sha256
from typing import Final, NamedTuple

MAX_RANGES: Final = 100  # of one request; over it the header is ignored (section 14.2)

_UNIT = re.compile(r"[ \t]*bytes[ \t]*=", re.IGNORECASE)
_SPEC = re.compile(r"[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*")
_DIGITS: Final = 18  # more is past the end of any file, and int() of thousands of digits costs


class ByteRange(NamedTuple):
    """Bytes `start` to `stop`, `stop` not included; never empty."""

    start: int
    stop: int


class Unsatisfiable(NamedTuple):
    """No byte of the range exists: 416."""

    size: int


def parse_ranges(header: str | None, size: int) -> list[ByteRange] | Unsatisfiable | None:
    """Return what a Range header asks of a file of `size` bytes; `None`: answer the whole file.

    Whole is the answer to no header, to other units, to what does not parse (all three as section 14.2 has it), to
    more than `MAX_RANGES` ranges, and to a suffix of an empty file.

    Returns:
        At least one range. They do not overlap, so that no byte is sent twice, and stand in the order in which they
        were asked for; those that do not exist are left out. Near ones could be sent as one (section 15.3.7.2), but
        who asked for several looks for several.
    """
    unit = _UNIT.match(header) if header is not None else None
    if header is None or unit is None or header.count(",", unit.end()) > 2 * MAX_RANGES:
        return None
    wanted: list[ByteRange] = []
    specs = [spec for spec in header[unit.end() :].split(",") if spec.strip(" \t")]
    for spec in specs:
        found = _SPEC.fullmatch(spec)
        if found is None or not (found[1] or found[2]):
            return None
        first, last = _number(found[1]), _number(found[2])
        if first is None:
            if last and not size:
                return None
            first, last = (max(0, size - (last or 0)), None)
        elif last is not None and last < first:
            return None
        if first < size:
            wanted.append(ByteRange(first, size if last is None else min(last + 1, size)))
    if not specs or len(specs) > MAX_RANGES:
        return None
    return _coalesced(wanted) if wanted else Unsatisfiable(size)


def _coalesced(wanted: list[ByteRange]) -> list[ByteRange]:
    """Make one of ranges that overlap; each stands where the first of its members stood."""
    merged: list[tuple[int, ByteRange]] = []
    for (start, stop), place in sorted((found, place) for place, found in enumerate(wanted)):
        if merged and start < merged[-1][1].stop:
            before, last = merged[-1]
            merged[-1] = (min(place, before), ByteRange(last.start, max(stop, last.stop)))
        else:
            merged.append((place, ByteRange(start, stop)))
    return [found for _, found in sorted(merged)]


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return 10**_DIGITS if len(digits) > _DIGITS else int(digits)


class Multipart:
    """What stands around the parts of a multipart/byteranges body (section 14.6)."""

    def __init__(self, ranges: list[ByteRange], size: int, media_type: str, digest: bytes) -> None:
        """Frame two or more ranges.

        Args:
            ranges: in the order of the parts.
            size: bytes of the whole file.
            media_type: of the file.
            digest: of its bytes. The boundary is made of it, so that equal requests get equal answers; no file can
                hold what depends on its own digest.
        """
        boundary = sha256(b"byteranges" + digest).hexdigest()[:40]
        self.media_type: Final = f"multipart/byteranges; boundary={boundary}"
        self.heads: Final = [
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {content_range(part, size)}\r\n\r\n".encode("latin-1")
            for part in ranges
        ]
        self.end: Final = f"\r\n--{boundary}--\r\n".encode()
        self.length: Final = sum(map(len, self.heads)) + sum(part.stop - part.start for part in ranges) + len(self.end)


def content_range(part: ByteRange, size: int) -> str:
    """Spell a Content-Range (section 14.4)."""
    return f"bytes {part.start}-{part.stop - 1}/{size}"
