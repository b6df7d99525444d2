"""How an object's bytes are sealed: segments of 32 KiB, each on its own, so that any range can be read and verified.

    header   64 bytes, see `HEADER`
    segments of `SEGMENT` plain bytes each, the last one shorter (empty where the object is): AES-256-GCM, 16 bytes more
    header   once more, so that whoever reads the end alone knows salt and key

    header  offset size type       field
            0      4    bytes[4]   magic "AFSL"
            4      2    u16        version, 1
            6      2    u16        length of this header, 64
            8      8    u64        plain bytes of the object
            16     16   bytes[16]  id of the data key
            32     32   bytes[32]  salt, random for each attempt to write

The key of a segment is derived from the data key, the salt and the kind of object; its nonce is its number, in 12 bytes
little-endian; its associated data are the store's id (16 bytes), the header and the object's own (plain) key. So a
segment opens nowhere but at its place in its object, in its store, with nothing cut off or put behind.

**No nonce is used twice under one key.** `seal` is given a new salt of 32 random bytes for every write and numbers its
segments from 0, so a pair (key, nonce) repeats only where two writes draw one salt: for 2^64 writes with one data key
the chance is below 2^-128. Salts come from the system alone (`new_header`): no journal keeps one, and a push that goes
on begins new packs. A request that is repeated sends the same bytes again, which tells nothing new. A segment takes
2^11 + 1 blocks of AES, far below GCM's bound. Pure functions; any thread.
"""

import os
import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.objects.base import Buffer
from store.sealing.secret_keys import KEY_ID_SIZE, derive
from store.secret import Secret

HEADER: Final = struct.Struct("<4sHHQ16s32s")
MAGIC: Final = b"AFSL"
VERSION: Final = 1
SEGMENT: Final = 32 << 10  # plain bytes
TAG: Final = 16
SALT: Final = 32
ENDS: Final = 2 * HEADER.size
_WHOLE: Final = SEGMENT + TAG


class NotSealed(Exception):
    """The bytes are not what was sealed under that name. The caller knows which object, and raises its own error."""


class Header(NamedTuple):
    """What stands at both ends of a sealed object."""

    plain: int  # bytes
    key_id: bytes
    salt: bytes
    raw: bytes


class Cipher:
    """Seals and opens the segments of one written object."""

    __slots__ = ("_gcm", "_names", "header", "proved")

    def __init__(self, header: Header, key: Secret, *, kind: str, store: bytes, name: str) -> None:
        """Derive its key.

        Args:
            header: the object's.
            key: the data key that it names.
            kind: of object, as `names.kind_of` has it.
            store: the store's id, 16 bytes.
            name: the object's plain key.
        """
        self.header = header
        self.proved = False  # a segment was opened, and with it the header is known to be true
        self._gcm = AESGCM(derive(key, f"aetherfs/1/{kind}", salt=header.salt))
        self._names = b"".join((store, header.raw, name.encode()))

    def seal_into(self, number: int, plain: Buffer, to: memoryview) -> None:
        """Seal one segment into `to`, which is `TAG` longer."""
        self._gcm.encrypt_into(_nonce(number), plain, self._names, to)

    def open(self, number: int, sealed: Buffer) -> bytes:
        """Open one segment.

        Raises:
            NotSealed: it is not this segment of this object.
        """
        try:
            plain = self._gcm.decrypt(_nonce(number), sealed, self._names)
        except InvalidTag:
            raise NotSealed(f"segment {number} does not open: changed, or sealed for another name") from None
        self.proved = True
        return plain


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def count(plain: int) -> int:
    """Return how many segments an object of so many plain bytes has: one at least."""
    return max(1, -(-plain // SEGMENT))


def sealed_size(plain: int) -> int:
    """Return how many bytes an object of `plain` bytes takes once it is sealed."""
    return ENDS + plain + TAG * count(plain)


def plain_size(sealed: int) -> int:
    """Return how many plain bytes a sealed object of that size holds; 0 where none has that size."""
    body = sealed - ENDS
    plain = body - TAG * max(1, -(-body // _WHOLE))
    return plain if plain >= 0 and sealed_size(plain) == sealed else 0


def start_of(segment: int) -> int:
    """Return where in the sealed object a segment begins."""
    return HEADER.size + segment * _WHOLE


def new_header(plain: int, key_id: bytes) -> Header:
    """Return the header of an object that is about to be written: with a salt that was never used."""
    salt = os.urandom(SALT)
    return Header(plain, key_id, salt, HEADER.pack(MAGIC, VERSION, HEADER.size, plain, key_id, salt))


def read_header(raw: Buffer) -> Header:
    """Read a header.

    Raises:
        NotSealed: it is none.
    """
    if len(raw) != HEADER.size:
        raise NotSealed(f"{len(raw)} bytes are too few for a sealed object")
    magic, version, size, plain, key_id, salt = HEADER.unpack(raw)
    if magic != MAGIC:
        raise NotSealed("it is not sealed, as everything in this store is")
    if version != VERSION or size != HEADER.size:
        raise NotSealed(f"it is sealed by version {version}, which this version of AetherFS does not know")
    if not any(key_id) or len(key_id) != KEY_ID_SIZE:
        raise NotSealed("it names no data key")
    return Header(plain, key_id, salt, bytes(raw))


def seal(cipher: Cipher, plain: Buffer) -> bytearray:
    """Seal an object whole; `cipher` is for this once."""
    view = memoryview(plain).cast("B") if not isinstance(plain, bytes) else memoryview(plain)
    raw, size = cipher.header.raw, len(view)
    out = bytearray(sealed_size(size))
    to = memoryview(out)
    to[: HEADER.size] = raw
    for number in range(count(size)):
        part = view[number * SEGMENT : (number + 1) * SEGMENT]
        at = start_of(number)
        cipher.seal_into(number, part, to[at : at + len(part) + TAG])
    to[-HEADER.size :] = raw
    to.release()
    return out


def open_range(cipher: Cipher, sealed: Buffer, offset: int, end: int) -> bytes:
    """Open a range of an object.

    Args:
        cipher: the object's.
        sealed: bytes from the beginning of the segment on in which `offset` lies; more may follow.
        offset: first plain byte that is wanted.
        end: the one behind the last, at most the object's size.

    Raises:
        NotSealed: they are not what was sealed, or end too early.
    """
    size, first = cipher.header.plain, offset // SEGMENT
    last = max(first, (end - 1) // SEGMENT)
    view = memoryview(sealed)
    if len(view) < min(size, (last + 1) * SEGMENT) - first * SEGMENT + TAG * (last - first + 1):
        raise NotSealed(f"it ends within segment {first + len(view) // _WHOLE} of {count(size)}")
    parts = []
    for number in range(first, last + 1):
        at, length = (number - first) * _WHOLE, min(SEGMENT, size - number * SEGMENT) + TAG
        parts.append(cipher.open(number, view[at : at + length]))
    parts[-1] = parts[-1][: end - last * SEGMENT]
    parts[0] = parts[0][offset - first * SEGMENT :]
    return parts[0] if len(parts) == 1 else b"".join(parts)
