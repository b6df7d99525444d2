"""Which files of a state deduplicate worst against the other states of their dataset, and why.

Per chunk 8 bytes and per file 8 bytes are held; what other states have is gone through in parts. The reason is a guess
from what the file is called, how it begins, and what lay at its path before. One thread.
"""

import heapq
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from store.blocks import BlockReader
from store.care.digestsets import blocks_of, parts_of
from store.errors import Corrupt, Missing
from store.kinds import Kind
from store.manifest.layout import EXTENT, HOLE, Section
from store.manifest.view import Manifest, Record

SHOWN: Final = 10
EVERYWHERE: Final = 0.9  # share of a file that is new, from which it counts as changed everywhere
INCOMPRESSIBLE: Final = 0.97
TELLING: Final = 4096  # bytes of a file, from which how it compresses says something

MAGIC: Final = (
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"BZh", "bzip2"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"PAR1", "Parquet"),
    (0, b"\x89PNG\r\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WebP"),
    (4, b"ftyp", "MP4"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
)
EXTENSIONS: Final = {
    ".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".7z": "7z", ".zip": "zip",
    ".jar": "zip", ".whl": "zip", ".docx": "zip", ".xlsx": "zip", ".npz": "zip", ".lz4": "lz4", ".br": "brotli",
    ".parquet": "Parquet", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP", ".mp4": "MP4",
    ".mp3": "MP3", ".mkv": "Matroska", ".ogg": "Ogg", ".snappy": "Snappy",
}  # fmt: skip


class WorstFile(NamedTuple):
    """A file that adds much to the store."""

    path: bytes
    size: int
    new: int  # plain bytes of its chunks that no other state has
    new_stored: int  # the same, as stored
    reason: str


def worst_files(
    state: Manifest, others: Sequence[Manifest], blocks: BlockReader, *, shown: int = SHOWN
) -> list[WorstFile]:
    """Return the files that add most, as stored, to what the other states hold.

    Args:
        state: whose files.
        others: the other states, newest first; the first is what the files are compared with.
        blocks: reads the first chunk of each file that is shown.
        shown: most files returned.

    Raises:
        ObjectMissing, ObjectCorrupt: a manifest that cannot be read.  What the object store raises.
    """
    plain, stored = _new_rows(state, others)
    new, new_stored = _by_file(state, plain), _by_file(state, stored)
    candidates = (
        (new_stored[record.first], path, record)
        for _, path, record in state.walk()
        if record.kind is Kind.FILE and new[record.first]
    )
    worst = heapq.nlargest(shown, candidates, key=lambda found: (found[0], found[1]))
    previous = others[0] if others else None
    return [
        WorstFile(path, record.size, new[record.first], adds, _reason(state, record, path, previous, blocks,
                  new[record.first], adds))
        for adds, path, record in worst
    ]  # fmt: skip


def _new_rows(state: Manifest, others: Sequence[Manifest]) -> tuple["array[int]", "array[int]"]:
    """Return for each chunk its plain and its stored bytes, 0 where another state has it too."""
    plain, stored = array("I", bytes(4 * state.blocks)), array("I", bytes(4 * state.blocks))
    parts = parts_of(state.blocks)
    for part in range(parts):
        rows = {}
        for row, block in blocks_of(state, part, parts):
            rows[block.digest] = row
            plain[row], stored[row] = block.plain, block.stored
        for other in others:
            for _, block in blocks_of(other, part, parts):
                shared = rows.pop(block.digest, None)
                if shared is not None:
                    plain[shared] = stored[shared] = 0
    return plain, stored


def _by_file(state: Manifest, sizes: "array[int]") -> "array[int]":
    """Add up the chunks of each file; one that several files have counts for the first."""
    totals = array("Q", bytes(8 * state.files))
    left = array("I", sizes)
    ends = (int.from_bytes(page[at : at + 4], "little") for page in state.pages(Section.FILES)
            for at in range(0, len(page), 4))  # fmt: skip
    next(ends, None)
    end = 0
    number = -1
    for row, block in enumerate(_extent_blocks(state)):
        while row >= end and number + 1 < state.files:
            number += 1
            end = next(ends, end)
        if block != HOLE and number >= 0 and block < len(left):
            totals[number] += left[block]
            left[block] = 0
    return totals


def _extent_blocks(state: Manifest) -> Iterator[int]:
    for page in state.pages(Section.EXTENTS):
        for _, block in EXTENT.iter_unpack(page):
            yield block


def _reason(
    state: Manifest, record: Record, path: bytes, previous: Manifest | None, blocks: BlockReader, new: int, stored: int
) -> str:
    packed = _format(state, record, path, blocks)
    if previous is None or not _has(previous, path):
        return f"new content, already compressed ({packed})" if packed else "new content"
    if new < EVERYWHERE * record.size:
        return f"changed in places, {100 * new // max(1, record.size)} % of it"
    if packed:
        return f"compressed ({packed}): a small change rewrites all that follows; publish it uncompressed"
    if record.size >= TELLING and stored >= INCOMPRESSIBLE * new:
        return "changed everywhere, and does not compress: perhaps compressed or encrypted already"
    return "changed everywhere"


def _has(manifest: Manifest, path: bytes) -> bool:
    number, record = 0, manifest.record(0)
    for name in path.split(b"/"):
        found = manifest.find(number, record, name) if record.kind is Kind.FOLDER else None
        if found is None:
            return False
        number, record = found
    return record.kind is Kind.FILE


def _format(state: Manifest, record: Record, path: bytes, blocks: BlockReader) -> str:
    """Name the compressed format of a file; empty where it seems to be none."""
    spans = state.spans(record, 0, 1)
    if spans and spans[0].block is not None:
        try:
            head = blocks.load([spans[0].block])[0]
        except (Corrupt, Missing):
            head = b""
        for at, magic, name in MAGIC:
            if head[at : at + len(magic)] == magic:
                return name
    return EXTENSIONS.get(os.path.splitext(os.fsdecode(path).lower())[1], "")
