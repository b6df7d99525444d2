"""Digests and the sizes that every module agrees on. A digest's name says what it covers.

`chunk_digest`: the plain bytes of one chunk, keyed with the store's id key when the store is encrypted.
`stored_digest`: bytes exactly as they lie in the store. `Digest` is always 32 bytes of BLAKE3.
Pure functions; any thread.
"""

from typing import Final, NewType

from blake3 import blake3

from store.objects.base import Buffer

Digest = NewType("Digest", bytes)
PackId = NewType("PackId", bytes)

DIGEST_SIZE: Final = 32
PACK_ID_SIZE: Final = 16

_MULTITHREADED_FROM = 1 << 20  # BLAKE3's own threads pay off from about a MiB


def stored_digest(data: Buffer) -> Digest:
    """Return the BLAKE3 of bytes as they are stored."""
    threads = blake3.AUTO if len(data) >= _MULTITHREADED_FROM else 1
    return Digest(blake3(data, max_threads=threads).digest())


def chunk_digest(data: Buffer, id_key: bytes | None = None) -> Digest:
    """Return the name of a chunk: BLAKE3 of its plain bytes, keyed (32 bytes) in an encrypted store."""
    if id_key is None:
        return Digest(blake3(data).digest())
    return Digest(blake3(data, key=id_key).digest())


def short(digest: bytes) -> str:
    """Spell a digest for logs and messages: its first 12 hex digits."""
    return digest.hex()[:12]
