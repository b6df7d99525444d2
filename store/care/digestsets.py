"""Goes through the chunks of many manifests in parts, so that sets of digests stay small whatever the states hold.

A part is a share of all digests, by their first bytes. Each part needs another pass over the manifests' block tables,
so that memory is bounded and time grows instead. Pure but for reading manifests; any thread.
"""

import struct
from collections.abc import Iterator
from typing import Final

from store.manifest.layout import Section
from store.manifest.view import Manifest
from store.pack import Block

_DIGEST: Final = struct.Struct("32s")
PART: Final = 400_000  # digests held at a time, about 150 bytes each


def parts_of(chunks: int) -> int:
    """Return in how many parts `chunks` different digests are to be taken."""
    return max(1, -(-chunks // PART))


def part_of(digest: bytes, parts: int) -> int:
    """Return the part that a digest belongs to, from 0."""
    return int.from_bytes(digest[:4], "little") % parts


def digests_of(manifest: Manifest, part: int, parts: int) -> Iterator[tuple[int, bytes]]:
    """Yield (row, digest) of one part of a manifest's chunks, each once; reads one section alone."""
    every = (digest for page in manifest.pages(Section.DIGESTS) for (digest,) in _DIGEST.iter_unpack(page))
    for row, digest in enumerate(every):
        if parts == 1 or part_of(digest, parts) == part:
            yield row, digest


def blocks_of(manifest: Manifest, part: int, parts: int) -> Iterator[tuple[int, Block]]:
    """Yield (row, block) of one part of a manifest's chunks, each once."""
    for row, block in enumerate(manifest.all_blocks()):
        if parts == 1 or part_of(block.digest, parts) == part:
            yield row, block
