"""One file over HTTP, the same for `/fs/` and `/webdav/`: GET and HEAD with conditions and byte ranges (RFC 9110).

Bodies are read from the tree in pieces of `PIECE` bytes while they are sent and never held whole; each piece goes out
as views of the tree's own cache. The first piece is read before the status is decided, so that a store that can't be
read is an error and not a broken body; a later failure ends the connection short of Content-Length, which clients
notice. Threads: the tree's rule; a body is used by one thread at a time.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Final

from dav.media import MediaTypes, is_active
from dav.reply import SHOWN, Buffer, Environ, Headers, Reply, header
from dav.wire.conditions import Conditions, Outcome, Validators, evaluate, range_applies, strong_etag
from dav.wire.dates import http_date
from dav.wire.disposition import attachment
from dav.wire.ranges import ByteRange, Multipart, Unsatisfiable, content_range, parse_ranges
from store.vfs.tree import FileTree, Node

PIECE: Final = 1024 * 1024  # bytes asked of the tree at a time
FOREVER: Final = "public, max-age=31536000, immutable"  # a year: over it, caches differ (RFC 9111 section 1.2.2)
REVALIDATE: Final = "no-cache"
PRIVATE: Final = "private, no-cache"  # so that a browser asks each time whether its user may still read it

# Content of a dataset has its publisher's trust, not the gateway's: no script, no forms, an origin of its own.
SHIELD: Final = (
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
    ),
)


def open_to_all(tree: FileTree, state: Node | None) -> bool:
    """Tell whether anybody may read a state (`None`: the catalogue): then caches may give it to anybody."""
    return tree.open_to_all(state if state is not None else tree.root())


def cache_control(tree: FileTree, state: Node | None, *, keep: bool = True) -> str:
    """Decide who may keep what is read of a state (`None`: of the catalogue), and for how long.

    What was reached by a version or by its id never changes. What was reached by a channel is asked for again each
    time, and so is what depends on more than the state (not `keep`).
    """
    if not open_to_all(tree, state):
        return PRIVATE
    return FOREVER if keep and lasting(tree, state) else REVALIDATE


def lasting(tree: FileTree, state: Node | None) -> bool:
    """Tell whether what was reached by way of a state's root can never be anything else."""
    return state is not None and tree.following(state) == state


def moved_s(tree: FileTree, state: Node | None) -> int | None:
    """Return the whole second by which a channel had come to show a state; `None` for what lasts."""
    if state is None:
        return None
    follower = tree.following(state)
    return None if follower == state else -(-follower.mtime_ns // 1_000_000_000)


def file_reply(
    tree: FileTree,
    file: Node,
    name: bytes,
    environ: Environ,
    media: MediaTypes,
    headers: Sequence[tuple[str, str]],
    *,
    state: Node | None = None,
) -> Reply:
    """Answer a GET or HEAD of a file.

    HEAD honours Range like GET: DuckDB asks so, and wants 206. Digests are of the whole file, whatever part is sent
    (RFC 9530 section 3).

    Args:
        tree: where `file` is from.
        file: a node of kind FILE.
        name: as requested; its suffix decides the media type.
        environ: the request.
        media: the table of media types.
        headers: to be added, Cache-Control among them.
        state: the root of the state that it was reached by.

    Raises:
        Corrupt, Unavailable: the content could not be read from its start.
    """
    digest, modified_s = tree.digests(file).sha256, file.mtime_ns // 1_000_000_000
    current = Validators(strong_etag(digest), modified_s, moved_s(tree, state))
    common: Headers = [("ETag", current.etag), ("Last-Modified", http_date(modified_s)), *headers]
    conditions, refusal = check(environ, current, common)
    if refusal is not None:
        return refusal
    wanted = parse_ranges(header(environ, "Range"), file.size) if range_applies(conditions, current) else None
    common += [("Accept-Ranges", "bytes"), *SHIELD]
    if isinstance(wanted, Unsatisfiable):
        return Reply(416, [*_not_kept(common), ("Content-Range", f"bytes */{file.size}"), ("Content-Length", "0")])
    media_type = media.of(name)
    common.append(("Repr-Digest", f"sha-256=:{base64.b64encode(digest).decode()}:"))
    if is_active(media_type):
        common.append(("Content-Disposition", attachment(name)))
    if wanted is not None and len(wanted) > 1:
        parts = Multipart(wanted, file.size, media_type, digest)
        common += [("Content-Type", parts.media_type), ("Content-Length", str(parts.length))]
        body = () if environ["REQUEST_METHOD"] == "HEAD" else MultipartBody(tree, file, wanted, parts)
        return Reply(206, common, body)
    common.append(("Content-Type", media_type))
    part = wanted[0] if wanted is not None else ByteRange(0, file.size)
    if wanted is not None:
        common.append(("Content-Range", content_range(part, file.size)))
    common.append(("Content-Length", str(part.stop - part.start)))
    environ[SHOWN] = tree, file
    return Reply(
        200 if wanted is None else 206,
        common,
        () if environ["REQUEST_METHOD"] == "HEAD" else FileBody(tree, file, part, _begin(tree, file, part)),
    )


def check(environ: Environ, current: Validators, headers: Headers) -> tuple[Conditions, Reply | None]:
    """Evaluate a request's preconditions.

    Returns:
        What the request asks for, and the answer with `headers` where that is 304 or 412.
    """
    conditions = Conditions(*(header(environ, name) for name in _CONDITIONAL))
    outcome = evaluate(conditions, current)
    if outcome is Outcome.PROCEED:
        return conditions, None
    if outcome is Outcome.NOT_MODIFIED:
        return conditions, Reply(outcome.value, headers)
    return conditions, Reply(outcome.value, [*_not_kept(headers), ("Content-Length", "0")])


def _not_kept(headers: Headers) -> Headers:
    """Return fields for an answer to what this very request asked: a cache would give it to those who ask otherwise."""
    return [("Cache-Control", "no-store") if name == "Cache-Control" else (name, value) for name, value in headers]


def _begin(tree: FileTree, file: Node, part: ByteRange) -> list[memoryview]:
    return tree.read(file, part.start, min(PIECE, part.stop - part.start)) if part.stop > part.start else []


_CONDITIONAL: Final = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")


class FileBody:
    """A range of a file as a body: read from the tree in pieces while it is sent.

    A server that waits for many clients at once does not iterate: it takes `first`, and then pieces from `at` to `stop`
    by `tree.read_warm` where it can, which is why it may look at all of them.
    """

    __slots__ = ("after", "at", "file", "first", "stop", "tail", "tree")

    def __init__(
        self, tree: FileTree, file: Node, wanted: ByteRange, first: list[memoryview], *, tail: bytes = b"",
        after: "FileBody | None" = None,
    ) -> None:  # fmt: skip
        """Take the range's first piece, and where the others are from.

        Args:
            tree: where `file` is from.
            file: a node of kind FILE.
            wanted: the range.
            first: its first piece; none: not read yet.
            tail: to be sent behind the range.
            after: and behind that. Both are left to who does not iterate.
        """
        self.tree, self.file, self.at, self.stop, self.first = tree, file, wanted.start, wanted.stop, first
        self.tail, self.after = tail, after

    def __iter__(self) -> Iterator[memoryview]:
        views, self.first = self.first, []
        while views:
            for view in views:
                self.at += len(view)
                yield view
            views = self.tree.read(self.file, self.at, min(PIECE, self.stop - self.at)) if self.at < self.stop else []


class MultipartBody:
    """Several ranges of a file as a body (RFC 9110 section 14.6), each read while it is sent."""

    __slots__ = ("_first", "_parts", "_ranges", "file", "tree")

    def __init__(self, tree: FileTree, file: Node, ranges: list[ByteRange], parts: Multipart) -> None:
        """Begin with the first range; what can't be read of it is an error now."""
        self.tree, self.file, self._ranges, self._parts = tree, file, ranges, parts
        self._first = _begin(tree, file, ranges[0])

    def chain(self) -> tuple[bytes, FileBody]:
        """Return the same for who does not iterate: what comes first, and the ranges, one behind the other."""
        tail, after = self._parts.end, None
        for place in reversed(range(len(self._ranges))):
            first = [] if place else self._first
            after = FileBody(self.tree, self.file, self._ranges[place], first, tail=tail, after=after)
            tail = self._parts.heads[place]
        assert after is not None, "there are two ranges or more"  # noqa: S101  # for the type checker
        return tail, after

    def __iter__(self) -> Iterator[Buffer]:
        first, self._first = self._first, []
        for head, part in zip(self._parts.heads, self._ranges, strict=True):
            yield head
            yield from FileBody(self.tree, self.file, part, first or _begin(self.tree, self.file, part))
            first = []
        yield self._parts.end
