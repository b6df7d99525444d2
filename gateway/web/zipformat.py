"""Zip archives that can be written in one go, with Zip64 where it is needed (PKWARE's APPNOTE 6.3). Pure; any thread.

Nothing is compressed, so that bytes and length depend on the content alone and on no library's version. A file of up to
`WHOLE` bytes is *stored* behind a header that has its checksum. The checksum of a larger one is known after it: it
follows in a data descriptor, and the content lies in stored blocks of Deflate (RFC 1951 section 3.2.4), for programs
that read an archive from its start find the end of such a member by Deflate alone.

    local header  30 + name + extra     signature, version, flags, method, time, date, crc, two sizes, two lengths
    descriptor    16, or 24 with Zip64  signature, crc, two sizes
    central       46 + name + extra     the same as the local header, with mode and offset; all of them at the end
    extra         9: modification time in seconds ("UT"); and Zip64's sizes and offset where 32 bits are too few
"""

import struct
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from store.vfs.tree import Kind

WHOLE: Final = 1 << 20  # bytes of a file that is read at once
DEFLATED: Final = 32768  # bytes of one stored block of Deflate
FULL: Final = 0xFFFFFFFF  # stands in a field of 32 bits where Zip64 has the number

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_DESCRIPTOR: Final = struct.Struct("<4s3I")
_DESCRIPTOR64: Final = struct.Struct("<4sI2Q")
_END64: Final = struct.Struct("<4sQ2H2I4Q4sIQI")
_END: Final = struct.Struct("<4s4H2IH")
_STORED, _DEFLATE = 0, 8
_LATER, _UTF8 = 0x0008, 0x0800  # flags
_MODES: Final = {Kind.FILE: 0o100644, Kind.LINK: 0o120777, Kind.FOLDER: 0o40755}
_FOLDER_OF_DOS: Final = 0x10
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_S: Final = 315_532_800  # 1980, where the time of DOS begins
_LAST_S: Final = 4_354_819_198  # the end of 2107


class Described(NamedTuple):
    """What the headers say of one member."""

    path: bytes  # relative; a folder's ends in a slash
    kind: Kind
    size: int  # of its content in bytes
    mtime_ns: int
    executable: bool

    @property
    def later(self) -> bool:
        """Its checksum follows its content."""
        return self.size > WHOLE

    @property
    def packed(self) -> int:
        """Bytes that its content takes in the archive."""
        return self.size - (-self.size // DEFLATED) * 5 if self.later else self.size

    @property
    def wide(self) -> bool:
        """Its sizes need Zip64; whether its offset does, only its place in the archive says."""
        return self.packed >= FULL


def local(member: Described, crc: int) -> bytes:
    """Return the header before a member; `crc` is not told where it is to follow."""
    if member.later:
        crc, packed, size = 0, 0, 0
    else:
        packed, size = member.packed, member.size
    extra = _time_extra(member)
    if member.wide:
        packed = size = FULL
        extra = struct.pack("<2H2Q", 1, 16, 0, 0) + extra
    fields = (*_common(member), crc, packed, size, len(member.path), len(extra))
    return _LOCAL.pack(b"PK\3\4", 45 if member.wide else 20, *fields) + member.path + extra


def descriptor(member: Described, crc: int) -> bytes:
    """Return what follows a member whose checksum comes later."""
    layout = _DESCRIPTOR64 if member.wide else _DESCRIPTOR
    return layout.pack(b"PK\7\10", crc, member.packed, member.size)


def central(member: Described, crc: int, offset: int) -> bytes:
    """Return a member's entry in the directory at the end; its local header stands at `offset`."""
    size, packed, at = member.size, member.packed, offset
    wide = b""
    if size >= FULL:
        wide, size = wide + struct.pack("<Q", size), FULL
    if packed >= FULL:
        wide, packed = wide + struct.pack("<Q", packed), FULL
    if at >= FULL:
        wide, at = wide + struct.pack("<Q", at), FULL
    extra = _time_extra(member)
    if wide:
        extra = struct.pack("<2H", 1, len(wide)) + wide + extra
    mode = _MODES[member.kind] | (0o111 if member.executable else 0)
    attributes = mode << 16 | (_FOLDER_OF_DOS if member.kind is Kind.FOLDER else 0)
    made = 3 << 8 | 45  # on Unix: the mode counts
    fields = (crc, packed, size, len(member.path), len(extra), 0, 0, 0, attributes, at)
    head = _CENTRAL.pack(b"PK\1\2", made, 45 if wide else 20, *_common(member), *fields)
    return head + member.path + extra


def end(count: int, start: int, stop: int) -> bytes:
    """Return the end of an archive of `count` members, whose directory lies from `start` to `stop`."""
    size = stop - start
    wide = b""
    if count >= 0xFFFF or start >= FULL or size >= FULL:
        wide = _END64.pack(
            b"PK\6\6", 44, 3 << 8 | 45, 45, 0, 0, count, count, size, start, b"PK\6\7", 0, stop, 1
        )  # fmt: skip
    few = min(count, 0xFFFF)
    return wide + _END.pack(b"PK\5\6", 0, 0, few, few, min(size, FULL), min(start, FULL), 0)


def deflated(content: bytes, *, last: bool) -> bytes:
    """Return a piece of a member's content in stored blocks; all but the last piece are a multiple of `DEFLATED`."""
    view = memoryview(content)
    parts: list[bytes | memoryview] = []
    for at in range(0, len(content), DEFLATED):
        block = view[at : at + DEFLATED]
        final = last and at + DEFLATED >= len(content)
        parts += [struct.pack("<B2H", final, len(block), len(block) ^ 0xFFFF), block]
    return b"".join(parts)


def _common(member: Described) -> tuple[int, int, int, int]:
    """Return flags, method, time and date."""
    flags = _LATER if member.later else 0
    try:
        member.path.decode("utf-8")
        flags |= _UTF8
    except UnicodeDecodeError:  # readers then take the bytes as they are, or as those of an old code page
        pass
    when = _EPOCH + timedelta(seconds=min(max(member.mtime_ns // 1_000_000_000, _FIRST_S), _LAST_S))
    time = when.hour << 11 | when.minute << 5 | when.second // 2
    date = (when.year - 1980) << 9 | when.month << 5 | when.day
    return flags, _DEFLATE if member.later else _STORED, time, date


def _time_extra(member: Described) -> bytes:
    """Return the time in UTC, to the second, where 32 bits hold it (1901 to 2038)."""
    seconds = member.mtime_ns // 1_000_000_000
    return struct.pack("<2HBi", 0x5455, 5, 1, seconds) if -(2**31) <= seconds < 2**31 else b""
