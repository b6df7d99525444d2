"""A folder as one tar or zip archive: made while it is sent, with the same bytes each time and on every gateway.

Members stand in the order of `members.walk`, with paths relative to the folder. Nothing in the bytes depends on the
path, tag or time by which the folder was asked for, so the entity tag is made of (manifest, record, format) alone.

Memory is flat: contents pass through in pieces, a folder's listing in pages. A zip archive needs the checksum of each
member again for the directory at its end: four bytes a member are kept, and the tree is walked a second time. The first
piece is made before the status is decided; what cannot be read later ends the body without its valid end.

Content-Length takes a walk through the whole folder. It is told of folders of up to `COUNTED` members, of which a walk
takes a moment; what was found is remembered. Larger archives come in chunks.
Threads: an `Archives` is shared by all; a body is used by one thread at a time.
"""

import threading
import zlib
from array import array
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final, Protocol

from dav.files import PIECE
from dav.reply import Buffer
from dav.wire.conditions import Validators, strong_etag
from gateway.web import tarformat, zipformat
from gateway.web.members import Member, walk
from store.cache import ByteCache
from store.vfs.tree import FileTree, Kind, Node

RUNNING: Final = 16  # archives sent at once by one process: each holds a thread for as long as its reader takes
COUNTED: Final = 20_000  # members that are walked before the first byte, to tell the length
_FORM: Final = b"aetherfs archive 1"  # to be changed with the bytes of archives
_GATHERED: Final = 256 << 10  # bytes in which small pieces are sent together
_SMALL: Final = 16 << 10  # bytes of a piece that is not worth its own call
_LENGTHS: Final = 1 << 20  # bytes of lengths to remember


class Format(Protocol):
    """One kind of archive."""

    media_type: str

    def length(self, tree: FileTree, folder: Node) -> int | None:
        """Return the bytes of the whole archive; `None` for one of more than `COUNTED` members."""
        ...

    def pieces(self, tree: FileTree, folder: Node) -> Iterator[Buffer]:
        """Yield the archive's bytes."""
        ...


class _Tar:
    media_type = "application/x-tar"

    def length(self, tree: FileTree, folder: Node) -> int | None:
        total = len(tarformat.END)
        for count, member in enumerate(walk(tree, folder)):
            if count == COUNTED:
                return None
            size = _content_size(member.node)
            total += len(self._header(tree, member)) + size + len(tarformat.padding(size))
        return total

    def pieces(self, tree: FileTree, folder: Node) -> Iterator[Buffer]:
        for member in walk(tree, folder):
            yield self._header(tree, member)
            if member.node.kind is Kind.FILE:
                for content in _contents(tree, member.node):
                    yield from content
                yield tarformat.padding(member.node.size)
        yield tarformat.END

    @staticmethod
    def _header(tree: FileTree, member: Member) -> bytes:
        node = member.node
        target = tree.readlink(node) if node.kind is Kind.LINK else b""
        return tarformat.header(
            member.path,
            node.kind,
            size=_content_size(node),
            mtime_ns=node.mtime_ns,
            executable=node.executable,
            target=target,
        )


class _Zip:
    media_type = "application/zip"

    def length(self, tree: FileTree, folder: Node) -> int | None:
        count = directory = at = 0
        for member in walk(tree, folder):
            if count == COUNTED:
                return None
            count += 1
            described = self._described(member)
            directory += len(zipformat.central(described, 0, at))
            at += self._takes(described)
        return at + directory + len(zipformat.end(count, at, at + directory))

    def pieces(self, tree: FileTree, folder: Node) -> Iterator[Buffer]:
        checksums, at = array("I"), 0
        for member in walk(tree, folder):
            described = self._described(member)
            if described.later:
                yield zipformat.local(described, 0)
                crc, read = 0, 0
                for content in _contents(tree, member.node):
                    whole = b"".join(content)
                    crc, read = zlib.crc32(whole, crc), read + len(whole)
                    yield zipformat.deflated(whole, last=read == described.size)
                yield zipformat.descriptor(described, crc)
            else:
                whole = self._whole(tree, member.node)
                crc = zlib.crc32(whole)
                yield zipformat.local(described, crc)
                yield whole
            checksums.append(crc)
            at += self._takes(described)
        start, offset = at, 0
        for member, crc in zip(walk(tree, folder), checksums, strict=True):
            described = self._described(member)
            entry = zipformat.central(described, crc, offset)
            offset += self._takes(described)
            at += len(entry)
            yield entry
        yield zipformat.end(len(checksums), start, at)

    @staticmethod
    def _described(member: Member) -> zipformat.Described:
        node = member.node
        size = node.size if node.kind is Kind.LINK else _content_size(node)
        return zipformat.Described(member.path, node.kind, size, node.mtime_ns, node.executable)

    @staticmethod
    def _takes(described: zipformat.Described) -> int:
        after = len(zipformat.descriptor(described, 0)) if described.later else 0
        return len(zipformat.local(described, 0)) + described.packed + after

    @staticmethod
    def _whole(tree: FileTree, node: Node) -> bytes:
        if node.kind is Kind.LINK:
            return tree.readlink(node)
        return b"".join(tree.read(node, 0, node.size)) if _content_size(node) else b""


FORMATS: Final[dict[str, Format]] = {"tar": _Tar(), "zip": _Zip()}


def validators(folder: Node, name: str) -> Validators:
    """Return the strong entity tag of a folder's archive in a format. It has no date: no file's time says enough."""
    place = folder.place
    digest = sha256(b"%s %s %s %d" % (_FORM, name.encode(), place.manifest.hex().encode(), place.record))
    return Validators(strong_etag(digest.digest()), None)


class Archives:
    """The archives that one application gives."""

    def __init__(self) -> None:
        self._running = threading.BoundedSemaphore(RUNNING)
        self._lengths: ByteCache[tuple[bytes, int, str], int] = ByteCache(_LENGTHS)

    def length(self, tree: FileTree, folder: Node, name: str) -> int | None:
        """Return the bytes of an archive, where they are known soon."""
        key = (folder.place.manifest, folder.place.record, name)
        known = self._lengths.get(key)
        if known is None:
            many = folder.place.record == 0 and tree.usage(folder).files > COUNTED
            found = None if many else FORMATS[name].length(tree, folder)
            known = -1 if found is None else found
            self._lengths.put(key, known, 0)
        return known if known >= 0 else None

    def body(self, tree: FileTree, folder: Node, name: str) -> "ArchiveBody | None":
        """Begin an archive; `None` while as many are sent as may be.

        Raises:
            StoreError: what stands at its beginning could not be read.
        """
        pieces = _gathered(FORMATS[name].pieces(tree, folder))
        first = next(pieces)
        if not self._running.acquire(blocking=False):
            return None
        return ArchiveBody(first, pieces, self._running.release)


class ArchiveBody:
    """An archive that is being sent; whoever takes it closes it."""

    def __init__(self, first: Buffer, rest: Iterator[Buffer], release: Callable[[], None]) -> None:
        self._first, self._rest = first, rest
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> Iterator[Buffer]:
        yield self._first
        self._first = b""
        yield from self._rest

    def close(self) -> None:
        """Give the place to the next one."""
        release, self._release = self._release, None
        if release is not None:
            release()


def _content_size(node: Node) -> int:
    return node.size if node.kind is Kind.FILE else 0


def _contents(tree: FileTree, file: Node) -> Iterator[list[memoryview]]:
    """Yield a file's bytes in pieces of `PIECE`, the last one shorter."""
    for at in range(0, file.size, PIECE):
        yield tree.read(file, at, min(PIECE, file.size - at))


def _gathered(pieces: Iterator[Buffer]) -> Iterator[Buffer]:
    """Join small pieces until they are worth a call; large ones pass as they are."""
    held: list[Buffer] = []
    size = 0
    for piece in pieces:
        large = len(piece) > _SMALL
        if held and (large or size >= _GATHERED):
            yield b"".join(held)
            held, size = [], 0
        if large:
            yield piece
        elif piece:
            held.append(piece)
            size += len(piece)
    if held:
        yield b"".join(held)
