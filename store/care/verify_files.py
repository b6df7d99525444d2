"""The last part of a check: files. Which of them faults of packs touch, and whether their digests are what is said.

A file whose content and chunks were checked in another state already is not read again. Any thread, for different
files.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from blake3 import blake3

from store.blocks import BlockReader
from store.care.findings import Findings
from store.care.verify_packs import Packs
from store.errors import BlockCorrupt, Corrupt, ObjectMissing
from store.layout import pack_key
from store.manifest.view import Manifest, Record, Span

WINDOW: Final = 4 << 20  # plain bytes of a file held at a time
REMEMBERED: Final = 500_000  # files that need not be read again, about 100 bytes each
_ZEROS: Final = bytes(1 << 18)


class Files:
    """Checks files."""

    def __init__(
        self, packs: Packs, blocks: BlockReader, findings: Findings, *, deep: bool, on_bytes: Callable[[int], None]
    ) -> None:
        """Start.

        Args:
            packs: what is known of packs.
            blocks: reads chunks.
            findings: told of every fault.
            deep: make the digests anew; else only look which files known faults touch.
            on_bytes: told of plain bytes that were checked.
        """
        self._packs, self._blocks, self._findings, self._deep, self._on_bytes = packs, blocks, findings, deep, on_bytes
        self._done: set[bytes] = set()
        self._lock = threading.Lock()
        self.checked = 0

    def check(self, manifest: Manifest, number: int, path: bytes, names: list[str]) -> None:
        """Check one file.

        Args:
            manifest: whose.
            number: its record.
            path: its path.
            names: of the state.
        """
        record = manifest.record(number)
        content = blake3(manifest.sha256(record.first) + manifest.md5(record.first))
        touched: set[bytes] = set()
        for span in _spans(manifest, record):
            content.update(span.block.digest if span.block else b"hole")
            content.update(span.size.to_bytes(8, "little"))
            if span.block is not None and self._packs.fault_of(span.block):
                touched.add(span.block.pack)
        for pack in touched:
            self._findings.touch(pack_key(pack.hex()), names, path)
        if not self._deep or touched:
            return
        mark = content.digest(16)
        if mark in self._done:
            self._on_bytes(record.size)
            return
        self._digests(manifest, record, path, names)
        with self._lock:
            self.checked += 1
            if len(self._done) < REMEMBERED:
                self._done.add(mark)

    def _digests(self, manifest: Manifest, record: Record, path: bytes, names: list[str]) -> None:
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        try:
            for piece in self._pieces(manifest, record):
                sha256.update(piece)
                md5.update(piece)
                self._on_bytes(len(piece))
        except (Corrupt, ObjectMissing) as error:  # damaged since its pack was checked
            key = error.source if isinstance(error, BlockCorrupt) else getattr(error, "key", manifest.key)
            self._findings.add(key, str(error), missing=isinstance(error, ObjectMissing), names=names)
            self._findings.touch(key, names, path)
            return
        said = manifest.sha256(record.first), manifest.md5(record.first)
        for which, one, other in (("SHA-256", said[0], sha256.digest()), ("MD5", said[1], md5.digest())):
            if one != other:
                why = f"files whose content does not have the {which} that is said"
                self._findings.add(manifest.key, why, names=names)
                self._findings.touch(manifest.key, names, path)

    def _pieces(self, manifest: Manifest, record: Record) -> Iterator[bytes]:
        group: list[Span] = []
        size = 0
        for span in _spans(manifest, record):
            if span.block is None:
                yield from self._loaded(group)
                group, size = [], 0
                left = span.size
                while left:
                    yield _ZEROS[: min(left, len(_ZEROS))]
                    left -= min(left, len(_ZEROS))
                continue
            group.append(span)
            size += span.size
            if size >= WINDOW:
                yield from self._loaded(group)
                group, size = [], 0
        yield from self._loaded(group)

    def _loaded(self, group: list[Span]) -> list[bytes]:
        return self._blocks.load([span.block for span in group if span.block is not None]) if group else []


def _spans(manifest: Manifest, record: Record) -> Iterator[Span]:
    """Yield the runs of a file, each whole, a few at a time."""
    at = 0
    while at < record.size:
        for span in manifest.spans(record, at, WINDOW):
            at += span.size
            if span.block is None:
                yield span
            elif not span.start:  # else the rest of a chunk that came whole with the window before
                yield span._replace(size=span.block.plain)
