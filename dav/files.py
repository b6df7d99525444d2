"""One file over HTTP, the same for `/fs/` and `/webdav/`: GET and HEAD with conditions and one byte range (RFC 9110).

Bodies are read from the tree in pieces of `PIECE` bytes while they are sent and never held whole; each piece goes out
as views of the tree's own cache. The first piece is read before the status is decided, so that a store that can't be
read is an error and not a broken body; a later failure ends the connection short of Content-Length, which clients
notice. Threads: the tree's rule; a body is used by one thread at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dav.media import MediaTypes, is_active
from dav.reply import Headers, Reply, header
from dav.wire.conditions import Conditions, Outcome, Validators, evaluate, http_date, range_applies, strong_etag
from dav.wire.ranges import ByteRange, Unsatisfiable, parse_range
from store.vfs.tree import FileTree, Node

PIECE: Final = 1024 * 1024  # bytes asked of the tree at a time
FOREVER: Final = (
    "max-age=31536000, immutable"  # a year, the most that caches are known to honour (RFC 9111 section 1.2.2)
)
REVALIDATE: Final = "no-cache"

# Content of a dataset has its publisher's trust, not the gateway's: no script, no forms, an origin of its own.
SHIELD: Final = (
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
    ),
)


def cache_control(tree: FileTree, state: Node | None) -> str:
    """Decide how long a client may keep what it reads of a state (`None`: of the catalogue).

    What was reached by a version or by its id never changes. What was reached by a channel is asked for again each
    time.
    """
    return FOREVER if lasting(tree, state) else REVALIDATE


def lasting(tree: FileTree, state: Node | None) -> bool:
    """Tell whether what was reached by way of a state's root can never be anything else."""
    return state is not None and tree.following(state) == state


def validators(tree: FileTree, file: Node) -> Validators:
    """Return a file's validators: equal in headers and in properties."""
    return Validators(strong_etag(tree.digests(file).sha256), file.mtime_ns // 1_000_000_000)


def file_reply(
    tree: FileTree,
    file: Node,
    name: bytes,
    environ: Mapping[str, Any],
    media: MediaTypes,
    headers: Sequence[tuple[str, str]],
) -> Reply:
    """Answer a GET or HEAD of a file.

    HEAD honours Range like GET: DuckDB asks so, and wants 206. Several ranges at once get the whole file.

    Args:
        tree: where `file` is from.
        file: a node of kind FILE.
        name: as requested; its suffix decides the media type.
        environ: the request.
        media: the table of media types.
        headers: to be added, Cache-Control among them.

    Raises:
        Corrupt, Unavailable: the content could not be read from its start.
    """
    current = validators(tree, file)
    conditions = Conditions(*(header(environ, name) for name in _CONDITIONAL))
    common: Headers = [("ETag", current.etag), ("Last-Modified", http_date(current.modified_s)), *headers]
    outcome = evaluate(conditions, current)
    if outcome is not Outcome.PROCEED:
        empty = [] if outcome is Outcome.NOT_MODIFIED else [("Content-Length", "0")]
        return Reply(outcome.value, [*common, *empty])
    wanted = parse_range(header(environ, "Range"), file.size) if range_applies(conditions, current) else None
    common += [("Accept-Ranges", "bytes"), *SHIELD]
    if isinstance(wanted, Unsatisfiable):
        return Reply(416, [*common, ("Content-Range", f"bytes */{file.size}"), ("Content-Length", "0")])
    media_type = media.of(name)
    common.append(("Content-Type", media_type))
    if is_active(media_type):
        common.append(("Content-Disposition", "attachment"))
    if wanted is None:
        wanted, status = ByteRange(0, file.size), 200
    else:
        common.append(("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{file.size}"))
        status = 206
    common.append(("Content-Length", str(wanted.stop - wanted.start)))
    if environ["REQUEST_METHOD"] == "HEAD":
        return Reply(status, common)
    first = tree.read(file, wanted.start, min(PIECE, wanted.stop - wanted.start)) if wanted.stop > wanted.start else []
    return Reply(status, common, FileBody(tree, file, wanted, first))


_CONDITIONAL: Final = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")


class FileBody:
    """A range of a file as a body: read from the tree in pieces while it is sent.

    A server that waits for many clients at once does not iterate but takes `pieces`, by `tree.read_warm` where it can.
    """

    __slots__ = ("at", "file", "first", "stop", "tree")

    def __init__(self, tree: FileTree, file: Node, wanted: ByteRange, first: list[memoryview]) -> None:
        """Take the range's first piece, and where the others are from."""
        self.tree, self.file, self.at, self.stop, self.first = tree, file, wanted.start, wanted.stop, first

    def __iter__(self) -> Iterator[memoryview]:
        views, self.first = self.first, []
        while views:
            for view in views:
                self.at += len(view)
                yield view
            views = self.tree.read(self.file, self.at, min(PIECE, self.stop - self.at)) if self.at < self.stop else []
