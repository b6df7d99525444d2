"""How runs of bytes are coded in the store: plain, zstd, or zstd over transposed columns (docs/format.md, Codings).

A decoder never trusts a size that it was not told from outside: the caller knows the plain size from a verified
table, and a frame that claims another one is refused before memory is taken. Pure functions; any thread (contexts are
per thread).
"""

import enum
import threading
from typing import Final

import zstandard

from store.objects.base import Buffer

LEVEL: Final = 3
_WORTH: Final = 0.97  # coded only where it saves at least 3 %


class Coding(enum.IntEnum):
    """The coding byte of blocks, pages and tables."""

    PLAIN = 0
    ZSTD = 1
    COLUMNS = 2  # rows of a fixed width, transposed so that each byte position lies together, then zstd
    PATCH = 3  # reserved: zstd with other blocks (or the parent's page) as its prefix


class Undecodable(Exception):
    """The bytes are not what the coding says. The caller knows which object and raises its own error."""


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def encode(data: Buffer) -> tuple[Coding, Buffer]:
    """Return the smaller of zstd and plain. Plain returns `data` itself, not a copy."""
    coded = _contexts.compressor.compress(data)
    if len(coded) <= len(data) * _WORTH:
        return Coding.ZSTD, coded
    return Coding.PLAIN, data


def encode_rows(data: Buffer, width: int) -> tuple[Coding, Buffer]:
    """Return rows of `width` bytes coded as columns, or plain where that saves nothing.

    Args:
        data: a whole number of rows.
        width: bytes of one row, at least 1.
    """
    coded = _contexts.compressor.compress(transpose(data, width))
    if len(coded) <= len(data) * _WORTH:
        return Coding.COLUMNS, coded
    return Coding.PLAIN, data


def decode(coding: int, data: Buffer, size: int, width: int = 1) -> Buffer:
    """Return exactly `size` plain bytes.

    Args:
        coding: the coding byte.
        data: the coded bytes.
        size: plain size, from a verified source and already held against the caller's limit.
        width: bytes of one row, for COLUMNS.

    Raises:
        Undecodable: unknown coding, a frame that is broken, or one that claims another size.
    """
    if coding == Coding.PLAIN:
        if len(data) != size:
            raise Undecodable(f"{len(data)} plain bytes where {size} were expected")
        return data
    if coding not in (Coding.ZSTD, Coding.COLUMNS):
        raise Undecodable(f"unknown coding {coding}")
    try:
        claimed = zstandard.get_frame_parameters(data).content_size
        if claimed != size:
            raise Undecodable(f"a frame claims {claimed} bytes where {size} were expected")
        plain = _contexts.decompressor.decompress(data, max_output_size=size) if size else b""
    except zstandard.ZstdError as error:
        raise Undecodable(str(error)) from error
    if len(plain) != size:
        raise Undecodable(f"{len(plain)} bytes came out where {size} were expected")
    if coding == Coding.COLUMNS:
        if width < 1 or size % width:
            raise Undecodable(f"{size} bytes are no whole rows of {width}")
        return untranspose(plain, width)
    return plain


def transpose(data: Buffer, width: int) -> bytes:
    """Put the first bytes of all rows first, then all second bytes, and so on."""
    data = bytes(data)
    return b"".join(data[column::width] for column in range(width))


def untranspose(data: Buffer, width: int) -> bytes:
    """Undo `transpose`."""
    rows = len(data) // width
    plain = bytearray(len(data))
    for column in range(width):
        plain[column::width] = data[column * rows : (column + 1) * rows]
    return bytes(plain)
