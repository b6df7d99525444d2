"""Tar archives in the pax interchange format (POSIX.1-2017, pax, section "pax Interchange Format"). Pure; any thread.

    offset  size  field                                offset  size  field
    0       100   name                                 157     100   linkname
    100     8     mode, octal                          257     6     magic "ustar", NUL
    108     8     uid                                  263     2     version "00"
    116     8     gid                                  265     32    uname, empty
    124     12    size, octal                          297     32    gname, empty
    136     12    mtime, octal seconds                 329     16    devmajor, devminor
    148     8     sum of all bytes, this field blank   345     155   prefix, not used
    156     1     type: 0 file, 2 link, 5 folder       500     12    zeros

What these fields cannot say stands in records of a pax header (type x) before it: fractions of seconds, times before
1970, sizes from 8 GiB, names that are long or not ASCII. Names are bytes: one that is not UTF-8 stands in the fields as
it is where it fits, else in a record behind `hdrcharset=BINARY`.
"""

import struct
from functools import lru_cache
from typing import Final

from store.vfs.tree import Kind

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
PADDING: Final = memoryview(bytes(BLOCK))

_HEADER: Final = struct.Struct("<100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_TYPES: Final = {Kind.FILE: b"0", Kind.LINK: b"2", Kind.FOLDER: b"5"}
_MAX_OCTAL: Final = 8**11 - 1
_NAME: Final = 100  # bytes of a name in a header


def header(path: bytes, kind: Kind, *, size: int, mtime_ns: int, executable: bool, target: bytes = b"") -> bytes:
    """Return what stands before a member's content: one block, or three or more with a pax header.

    Args:
        path: relative; a folder's ends in a slash.
        kind: of the member.
        size: of its content in bytes; 0 for folders and links.
        mtime_ns: ns since 1970.
        executable: of a file.
        target: of a link.
    """
    seconds, fraction = divmod(mtime_ns, 1_000_000_000)
    records = []
    if _told(path) or _told(target):
        text = [value for value in (path, target) if _told(value)]
        if not all(_utf8(value) for value in text):
            records.append(_record(b"hdrcharset", b"BINARY"))
    if _told(path):
        records.append(_record(b"path", path))
    if _told(target):
        records.append(_record(b"linkpath", target))
    if size > _MAX_OCTAL:
        records.append(_record(b"size", b"%d" % size))
    if fraction or not 0 <= seconds <= _MAX_OCTAL:
        records.append(_record(b"mtime", _decimal(mtime_ns)))
    mode = 0o777 if kind is Kind.LINK else 0o755 if executable or kind is Kind.FOLDER else 0o644
    own = _block(path, _TYPES[kind], mode, size if size <= _MAX_OCTAL else 0, seconds, target)
    if not records:
        return own
    text_of_records = b"".join(records)
    return _before(len(text_of_records)) + text_of_records + bytes(-len(text_of_records) % BLOCK) + own


def padding(size: int) -> memoryview:
    """Return what follows a content of `size` bytes."""
    return PADDING[: -size % BLOCK]


def _told(value: bytes) -> bool:
    """Tell whether a name needs a record: long ones, and text that programs would read in a charset of their own."""
    return len(value) > _NAME or (not value.isascii() and _utf8(value))


def _utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _record(key: bytes, value: bytes) -> bytes:
    """Return a record: length, blank, key, `=`, value and a line feed; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal(ns: int) -> bytes:
    """Spell seconds with as many digits of fraction as are needed; negative times as a negative number."""
    whole, fraction = divmod(abs(ns), 1_000_000_000)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{'-' if ns < 0 else ''}{whole}{'.' if digits else ''}{digits}".encode()


@lru_cache(256)
def _before(size: int) -> bytes:
    """Return the header of a pax header of `size` bytes."""
    return _block(b"././@PaxHeader", b"x", 0o644, size, 0, b"")


def _block(name: bytes, kind: bytes, mode: int, size: int, seconds: int, target: bytes) -> bytes:
    time = min(max(seconds, 0), _MAX_OCTAL)
    fields = (b"%07o" % mode, b"%07o" % 0, b"%07o" % 0, b"%011o" % size, b"%011o" % time)
    rest = (kind, target, b"ustar\x0000", b"", b"", b"%07o" % 0, b"%07o" % 0, b"")
    blank = _HEADER.pack(name, *fields, b" " * 8, *rest)
    return _HEADER.pack(name, *fields, b"%06o\0 " % sum(blank), *rest)
