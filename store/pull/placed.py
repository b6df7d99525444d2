"""Remembers what the last pull put into a folder, so that the next one knows what is not the user's own.

A file in the user's state directory, one for each destination, whatever the store, and one more for each encrypted one,
which is sealed: the state's content (`store.pull.content`), and behind it

    taken       a byte for each record: 1 where the pull put it there
    digest      BLAKE3 (32) of the file's head and of `taken`
    device      u64, of the folder's file system
    identities  of all records the inodes, then the ctimes in ns (u64 each; 0: nothing is known), in the machine's byte
                order; then BLAKE3 (32) from `device` on

What is behind the first digest is written once the folder is shown; where it is missing or damaged, contents have to be
read. In a sealed file it begins with a page. Size and mtime of an identity are the state's. An identity is noted only
where its times had settled as it was: a write since then must show in them. One thread.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from store.errors import ObjectCorrupt
from store.kinds import Kind
from store.manifest import layout
from store.pull.content import HEAD, MAGIC, PURPOSE, VERSION, Content, numbers
from store.push.source import Identity, in_reach
from store.veil import Veil, open_file
from store.veiled_file import LocalFile, VeilBroken, goes_on_at

_DEVICE: Final = struct.Struct("<Q")
_DIGEST: Final = 32
_MOST: Final = 1 << 40  # bytes of all that is noted; more was written by something else


class Placed(NamedTuple):
    """One entry that a pull put there."""

    kind: Kind
    executable: bool
    digest: bytes  # SHA-256 of a file's content or a link's target; of a folder 32 zeros
    identity: Identity | None  # None: it says nothing, the content must be read


class Identities:
    """Inode and ctime of files by record; what is 0 is not known."""

    def __init__(self, records: int) -> None:
        self.inodes, self.ctimes = numbers(records), numbers(records)

    def note(self, number: int, inode: int, ctime_ns: int) -> None:
        """Note one file, unless its ctime cannot be."""
        if ctime_ns == in_reach(ctime_ns) > 0:
            self.inodes[number], self.ctimes[number] = inode, ctime_ns

    def drop(self, number: int) -> None:
        """Forget one file."""
        self.inodes[number] = self.ctimes[number] = 0


class Placement:
    """Everything that a pull put into a folder. Use as a context: it holds a file open."""

    def __init__(self, content: Content, taken: bytes, device: int, identities: Identities | None) -> None:
        self.content, self.taken, self._device, self._identities = content, taken, device, identities
        self.id, self.root = content.manifest.id, content.manifest.root

    def __enter__(self) -> "Placement":
        return self

    def __exit__(self, *exc: object) -> None:
        self.content.file.close()

    def entries(self) -> Iterator[tuple[bytes, Placed]]:
        """Yield what was put there by path, in the order of the records."""
        content, known = self.content, self._identities
        for number, path, record in content.manifest.walk():
            if not self.taken[number]:
                continue
            identity, executable, digest = None, False, bytes(32)
            if record.kind == Kind.FILE:
                digest, executable = content.sha256(record.first), record.executable
                if known is not None and known.ctimes[number]:
                    identity = Identity(
                        self._device, known.inodes[number], record.size, record.mtime_ns, known.ctimes[number]
                    )
            elif record.kind == Kind.LINK:
                digest = hashlib.sha256(content.manifest.link(record)).digest()
            yield path, Placed(record.kind, executable, digest, identity)


def recall(path: Path, veil: Veil | None = None) -> Placement | None:
    """Read what was noted; `None` where nothing was, or it is damaged, or sealed with another store's key."""
    try:
        file = open_file(path, "rb", veil, PURPOSE)
    except OSError:
        return None
    try:
        head = file.read(HEAD.size)
        magic, version, id, root, records, names, links, files = HEAD.unpack(head)
        if magic != MAGIC or version != VERSION or max(records, names, links, files) > _MOST:
            raise ObjectCorrupt(str(path), "not what a pull of this version notes")
        content = Content(file, id, root, (records, names, links, files))
        header = layout.content_header(records, names, links, files)
        pages = (page for kind in layout.CONTENT for page in content.manifest.pages(kind))
        file.seek(content.end)
        taken, digest = file.read(records), file.read(_DIGEST)
        if blake3(head).update(taken).digest() != digest or layout.manifest_id(header, pages) != id:
            raise ObjectCorrupt(str(path), "it does not match its digest")
        file.seek(_behind(content))
        return Placement(content, taken, *_identities(file, records))
    except (OSError, struct.error, ObjectCorrupt):
        file.close()
        return None


def note_taken(content: Content, path: Path, taken: bytearray, to: Path) -> None:
    """Note what is going to be put there, durably, in the file that holds the content already.

    Args:
        content: of the state.
        path: the file that it lies in.
        taken: a byte for each record, 1 or 0.
        to: what the file is called from now on.

    Raises:
        OSError: it can't be written.
    """
    file = content.file
    file.seek(0)
    head = file.read(HEAD.size)
    file.seek(content.end)
    file.write(taken)
    file.write(blake3(head).update(taken).digest())
    _keep(content, path, to)


def note_identities(content: Content, path: Path, device: int, identities: Identities, to: Path) -> None:
    """Note by what the files that were put there can be known again; arguments and errors as for `note_taken`."""
    parts = (_DEVICE.pack(device), identities.inodes.tobytes(), identities.ctimes.tobytes())
    hasher = blake3()
    content.file.seek(_behind(content))
    for part in parts:
        hasher.update(part)
        content.file.write(part)
    content.file.write(hasher.digest())
    _keep(content, path, to)


def _keep(content: Content, path: Path, to: Path) -> None:
    content.file.flush()
    os.fsync(content.file.fileno())
    path.replace(to)


def _behind(content: Content) -> int:
    """Return where `device` stands."""
    return goes_on_at(content.file, content.end + content.records + _DIGEST)


def _identities(file: LocalFile, records: int) -> tuple[int, Identities | None]:
    """Read (device, identities) from where the file stands; 0 and `None` where they are missing or damaged."""
    try:
        device = file.read(_DEVICE.size)
        inodes, ctimes, digest = file.read(8 * records), file.read(8 * records), file.read(_DIGEST)
    except VeilBroken:
        return 0, None
    if len(ctimes) != 8 * records or blake3(device).update(inodes).update(ctimes).digest() != digest:
        return 0, None
    found = Identities(0)
    found.inodes.frombytes(inodes)
    found.ctimes.frombytes(ctimes)
    return int(_DEVICE.unpack(device)[0]), found
