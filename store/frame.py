"""The frame that every binary object shares: a header, a body, a table at the end, and a trailer that finds the table.

    header, 64 bytes                                   trailer, the last 128 bytes
    offset size field                                  offset size field
    0      4    magic                                  0      64   the header, once more
    4      2    version, 1                             64     8    offset of the table in the object
    6      2    length of this header, 64              72     4    stored length of the table
    8      4    required flags: refuse unknown ones    76     4    plain length of the table
    12     4    optional flags: ignore unknown ones    80     1    coding of the table
    16     16   zeros: refuse others                   81     1    width of its rows (coding COLUMNS), else 0
    32     32   zeros: refuse others                   82     6    zeros
                                                       88     32   digest
                                                       120    4    zeros
                                                       124    4    magic again

All numbers are little-endian. The digest is the BLAKE3 of the stored table followed by the trailer's first 88 bytes,
so that it covers all that is needed to read the table; a reader of the end alone knows version and flags. The digest in
a manifest's trailer is the *root* by which tags name it: every page below can be verified on its own (docs/format.md,
Frame). Objects of an encrypted store have this very frame once they are opened. Decoding is pure; `read_table` makes
one request, or two.
"""

import struct
from typing import Final, NamedTuple

from blake3 import blake3

from store.codec import Coding, Undecodable, decode, encode, encode_rows
from store.digest import DIGEST_SIZE, Digest
from store.errors import FeatureMissing, ObjectCorrupt
from store.objects.base import Buffer, ObjectStore

HEADER: Final = struct.Struct("<4sHHII16s32s")
TRAILER: Final = struct.Struct("<64sQIIBB6s32s4s4s")
COVERED: Final = 88  # bytes of the trailer that its digest covers
VERSION: Final = 1

PACK_MAGIC: Final = b"AFPK"
MANIFEST_MAGIC: Final = b"AFMF"
INDEX_MAGIC: Final = b"AFIX"

TAIL: Final = 64 * 1024  # read first; most tables lie within it

_NO_KEY: Final = bytes(16)
_NO_SALT: Final = bytes(32)
_NAMES = {PACK_MAGIC: "a pack", MANIFEST_MAGIC: "a manifest", INDEX_MAGIC: "an index segment"}


class Table(NamedTuple):
    """An object's table, verified, and what else came with it."""

    plain: Buffer
    digest: Digest  # the trailer's: a manifest's root
    size: int  # of the whole object
    at: int  # offset of the table in the object
    tail: bytes  # the object's last bytes
    tail_at: int  # offset of `tail` in the object


def header(magic: bytes) -> bytes:
    """Return the 64 bytes that an unsealed object begins with."""
    return HEADER.pack(magic, VERSION, HEADER.size, 0, 0, _NO_KEY, _NO_SALT)


def check_header(data: Buffer, magic: bytes, key: str) -> None:
    """Hold an object's first 64 bytes against what we can read.

    Raises:
        ObjectCorrupt: not such an object.  FeatureMissing: made by a newer version, or sealed.
    """
    if len(data) < HEADER.size:
        raise ObjectCorrupt(key, f"{len(data)} bytes are too few for {_NAMES[magic]}")
    found, _, _, required, _, key_id, salt = HEADER.unpack_from(data)
    if found != magic:
        raise ObjectCorrupt(key, f"it does not begin as {_NAMES[magic]}")
    _check_version(data, magic)
    if required:
        raise FeatureMissing("read", [f"{_NAMES[magic]} with flags {required:#x}"])
    if key_id != _NO_KEY:
        raise FeatureMissing("read", ["sealed objects"])
    if salt != _NO_SALT:
        raise ObjectCorrupt(key, "it has a salt though it is not sealed")


def _check_version(data: Buffer, magic: bytes) -> None:
    _, version, length, *_ = HEADER.unpack_from(data)
    if version != VERSION or length != HEADER.size:
        raise FeatureMissing("read", [f"{_NAMES[magic]} of version {version}"])


def table_and_trailer(table: Buffer, *, at: int, magic: bytes, width: int = 0) -> tuple[bytes, Digest]:
    """Return the coded table with its trailer, to be put at offset `at`, and the trailer's digest.

    Args:
        table: plain bytes of the table.
        at: offset in the object where the result will stand.
        magic: kind of the object.
        width: bytes of one row where the table is all rows, else 0.
    """
    coding, stored = encode_rows(table, width) if width else encode(table)
    row = width if coding == Coding.COLUMNS else 0
    covered = TRAILER.pack(
        header(magic), at, len(stored), len(table), coding, row, bytes(6), bytes(DIGEST_SIZE), bytes(4), magic
    )[:COVERED]
    digest = _digest(stored, covered)
    return b"".join((stored, covered, digest, bytes(4), magic)), digest


def _digest(stored: Buffer, covered: Buffer) -> Digest:
    return Digest(blake3(stored).update(covered).digest())


def read_table(objects: ObjectStore, key: str, magic: bytes, *, limit: int, tail: int = TAIL) -> Table:
    """Read and verify an object's table from its end: one request, or two where the table is larger than `tail`.

    Args:
        objects: where it lies.
        key: its name.
        magic: the kind it must be of.
        limit: most plain bytes of a table that are accepted.
        tail: bytes to read at first, at least 128.

    Raises:
        ObjectMissing, ObjectCorrupt, FeatureMissing, and what the object store raises.
    """
    data, size = objects.tail(key, tail)
    if size < HEADER.size + TRAILER.size or len(data) < TRAILER.size:
        raise ObjectCorrupt(key, f"{size} bytes are too few for {_NAMES[magic]}")
    trailer = data[-TRAILER.size :]
    front, at, stored_length, plain_length, coding, width, zeros, digest, more_zeros, found = TRAILER.unpack(trailer)
    if found != magic:
        raise ObjectCorrupt(key, f"it does not end as {_NAMES[magic]}: cut short, or not one at all")
    _check_version(front, magic)
    if any(zeros) or any(more_zeros) or (width and coding != Coding.COLUMNS):
        raise ObjectCorrupt(key, "its trailer holds what no writer puts there")
    if at < HEADER.size or at + stored_length + TRAILER.size != size:
        raise ObjectCorrupt(key, f"its table of {stored_length} bytes at {at} does not end where the trailer begins")
    if plain_length > limit or stored_length > limit:
        raise ObjectCorrupt(key, f"its table claims {plain_length} bytes; at most {limit} are accepted")
    data_at = size - len(data)
    if at < data_at:
        data, data_at = objects.get(key, offset=at, size=size - at), at
    stored = memoryview(data)[at - data_at : at - data_at + stored_length]
    if _digest(stored, trailer[:COVERED]) != digest:
        raise ObjectCorrupt(key, "its table does not match its digest")
    check_header(front, magic, key)
    if data_at == 0 and data[: HEADER.size] != front:
        raise ObjectCorrupt(key, "it begins with another header than it ends with")
    try:
        plain = decode(coding, stored, plain_length, width or 1)
    except Undecodable as error:
        raise ObjectCorrupt(key, f"its table: {error}") from error
    return Table(plain, Digest(digest), size, at, data, data_at)
