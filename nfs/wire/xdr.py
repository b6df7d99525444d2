"""XDR (RFC 4506): small codecs that compose, each able to encode and to decode one type.

A codec's `decode` reads from one whole RPC record and returns the value with the offset just past it; `encode` appends
the parts of a value to a list, so that file data goes out as the views it is. Every length a peer chooses meets a bound
before memory is taken.

Threads: codecs are immutable values; any thread may use them. No I/O.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from nfs.wire.errors import GarbageArgs

Buffer = bytes | memoryview

T = TypeVar("T")
V = TypeVar("V")

PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
TRUE: Final = b"\0\0\0\1"
FALSE: Final = b"\0\0\0\0"


class Codec(Protocol[T]):
    """How one XDR type is written and read."""

    def encode(self, value: T, out: list[Buffer]) -> None:
        """Append the value's parts; each a multiple of 4 bytes, or completed to one by the part that follows."""
        ...

    def decode(self, buf: bytes, at: int) -> tuple[T, int]:
        """Read a value.

        Args:
            buf: one whole RPC record.
            at: byte offset of the value, a multiple of 4.

        Returns:
            The value and the offset just past it.

        Raises:
            GarbageArgs: the record ends too early, or a bound or a rule of the type is broken.
        """
        ...


class Void:
    """No bytes at all (RFC 4506 section 4.16)."""

    def encode(self, value: None, out: list[Buffer]) -> None: ...

    def decode(self, buf: bytes, at: int) -> tuple[None, int]:
        return None, at


class Number:
    """An unsigned integer of 4 or 8 bytes (sections 4.2 and 4.5)."""

    def __init__(self, packer: struct.Struct) -> None:
        self._packer = packer

    def encode(self, value: int, out: list[Buffer]) -> None:
        out.append(self._packer.pack(value))

    def decode(self, buf: bytes, at: int) -> tuple[int, int]:
        end = at + self._packer.size
        if end > len(buf):
            raise GarbageArgs(f"number at byte {at} passes the record's end at {len(buf)}")
        return self._packer.unpack_from(buf, at)[0], end


class Bool:
    """A boolean: 0 or 1, nothing else (section 4.4)."""

    def encode(self, value: bool, out: list[Buffer]) -> None:
        out.append(TRUE if value else FALSE)

    def decode(self, buf: bytes, at: int) -> tuple[bool, int]:
        number, end = uint32.decode(buf, at)
        if number > 1:
            raise GarbageArgs(f"boolean at byte {at} is {number}")
        return number == 1, end


class FixedOpaque:
    """Opaque data of a fixed length (section 4.9)."""

    def __init__(self, size: int) -> None:
        self._size, self._padding = size, PADDING[size % 4]

    def encode(self, value: bytes, out: list[Buffer]) -> None:
        out.append(value + self._padding)

    def decode(self, buf: bytes, at: int) -> tuple[bytes, int]:
        end = at + self._size
        after = end + len(self._padding)
        if after > len(buf) or any(buf[end:after]):
            raise GarbageArgs(f"opaque of {self._size} bytes at byte {at} passes the record's end at {len(buf)}")
        return buf[at:end], after


class Opaque:
    """Variable-length opaque data or a string, as bytes (sections 4.10 and 4.11)."""

    def __init__(self, limit: int) -> None:
        """Accept at most `limit` bytes."""
        self._limit = limit

    def encode(self, value: bytes, out: list[Buffer]) -> None:
        out.append(_U32.pack(len(value)) + value + PADDING[len(value) % 4])

    def decode(self, buf: bytes, at: int) -> tuple[bytes, int]:
        length, start = uint32.decode(buf, at)
        end = start + length
        after = end + -length % 4
        if length > self._limit or after > len(buf) or any(buf[end:after]):
            raise GarbageArgs(f"opaque of {length} bytes at byte {at}: limit {self._limit}, record {len(buf)}")
        return buf[start:end], after


class OpaqueViews:
    """Variable-length opaque data given as views, which go out uncopied; read back as one."""

    def __init__(self, limit: int) -> None:
        self._whole = Opaque(limit)

    def encode(self, value: Sequence[Buffer], out: list[Buffer]) -> None:
        length = sum(map(len, value))
        out.append(_U32.pack(length))
        out.extend(value)
        if length % 4:
            out.append(PADDING[length % 4])

    def decode(self, buf: bytes, at: int) -> tuple[Sequence[Buffer], int]:
        whole, end = self._whole.decode(buf, at)
        return ([memoryview(whole)] if whole else []), end


class Optional(Generic[T]):
    """Optional data (section 4.19): a boolean, then the value if it is true. Absent is `None`."""

    def __init__(self, inner: Codec[T]) -> None:
        self._inner = inner

    def encode(self, value: T | None, out: list[Buffer]) -> None:
        if value is None:
            out.append(FALSE)
        else:
            out.append(TRUE)
            self._inner.encode(value, out)

    def decode(self, buf: bytes, at: int) -> tuple[T | None, int]:
        follows, at = boolean.decode(buf, at)
        return self._inner.decode(buf, at) if follows else (None, at)


class Chain(Generic[T]):
    """A linked list: each value preceded by true, the end by false (section 4.19)."""

    def __init__(self, inner: Codec[T], limit: int) -> None:
        """Accept at most `limit` values."""
        self._inner, self._limit = inner, limit

    def encode(self, value: Sequence[T], out: list[Buffer]) -> None:
        for item in value:
            out.append(TRUE)
            self._inner.encode(item, out)
        out.append(FALSE)

    def decode(self, buf: bytes, at: int) -> tuple[Sequence[T], int]:
        items: list[T] = []
        follows, at = boolean.decode(buf, at)
        while follows:
            if len(items) == self._limit:
                raise GarbageArgs(f"list at byte {at} has more than {self._limit} items")
            item, at = self._inner.decode(buf, at)
            items.append(item)
            follows, at = boolean.decode(buf, at)
        return items, at


class Array(Generic[T]):
    """A variable-length array: its length, then its values (section 4.13)."""

    def __init__(self, inner: Codec[T], limit: int) -> None:
        """Accept at most `limit` values."""
        self._inner, self._limit = inner, limit

    def encode(self, value: Sequence[T], out: list[Buffer]) -> None:
        out.append(_U32.pack(len(value)))
        for item in value:
            self._inner.encode(item, out)

    def decode(self, buf: bytes, at: int) -> tuple[Sequence[T], int]:
        length, at = uint32.decode(buf, at)
        if length > self._limit:
            raise GarbageArgs(f"array of {length} values ends at byte {at}: limit {self._limit}")
        items: list[T] = []
        for _ in range(length):
            item, at = self._inner.decode(buf, at)
            items.append(item)
        return items, at


class Structure(Generic[T]):
    """A structure (section 4.14): a named tuple's fields, one codec each, in order."""

    def __init__(self, shape: type[T], *fields: Codec[Any]) -> None:
        self._shape, self._fields = shape, fields

    def encode(self, value: T, out: list[Buffer]) -> None:
        assert isinstance(value, tuple)  # noqa: S101  narrows the type: shapes are named tuples
        for codec, part in zip(self._fields, value, strict=True):
            codec.encode(part, out)

    def decode(self, buf: bytes, at: int) -> tuple[T, int]:
        parts: list[Any] = []
        for codec in self._fields:
            part, at = codec.decode(buf, at)
            parts.append(part)
        return self._shape(*parts), at


class Choice(NamedTuple):
    """A value of a discriminated union: which arm, and what it holds."""

    arm: int
    value: Any = None


class Union:
    """A discriminated union (section 4.15) whose arms are numbers."""

    def __init__(self, arms: Mapping[int, Codec[Any]], default: Codec[Any] | None = None) -> None:
        """Refuse arms that are not named, unless there is a default."""
        self._arms, self._default = dict(arms), default

    def encode(self, value: Choice, out: list[Buffer]) -> None:
        out.append(_U32.pack(value.arm))
        codec = self._arms.get(value.arm, self._default)
        if codec is not None:
            codec.encode(value.value, out)

    def decode(self, buf: bytes, at: int) -> tuple[Choice, int]:
        arm, after = uint32.decode(buf, at)
        codec = self._arms.get(arm, self._default)
        if codec is None:
            raise GarbageArgs(f"union at byte {at} has no arm {arm}")
        value, after = codec.decode(buf, after)
        return Choice(arm, value), after


void: Final = Void()
uint32: Final = Number(_U32)
uint64: Final = Number(_U64)
boolean: Final = Bool()


def decode_whole(codec: Codec[V], buf: bytes, at: int) -> V:
    """Decode a value that must end exactly where the record ends.

    Raises:
        GarbageArgs: as `Codec.decode`, or bytes are left over.
    """
    value, end = codec.decode(buf, at)
    if end != len(buf):
        raise GarbageArgs(f"{len(buf) - end} bytes after the arguments")
    return value


def encode_whole(codec: Codec[V], value: V) -> bytes:
    """Encode a value into one run of bytes."""
    out: list[Buffer] = []
    codec.encode(value, out)
    return b"".join(out)
