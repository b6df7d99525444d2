"""Answers that need no thread: whole ones that were given before, files in memory, and what a tree has at hand.

A request comes as bytes (`dav.wire.heads` reads the plain ones) and leaves as bytes. Three ways, the quickest first:

1. A file that was asked for before, by a path that lasts: its head is kept, its content read by `read_warm`.
2. An answer that was given to the very same bytes, where the path lasts.
3. The application itself over a `WarmTree`.

Whatever does not end well here is `None`: a thread asks the application over the whole tree, and tells what is wrong.
What lasts is kept for `KEPT_S` alone, so that a dataset that was removed is gone soon, as it is for who may no longer
read it. A whole answer belongs to all the bytes of its request, credentials among them; a file's head to who asked, and
its content is read from the tree that they were shown, so that it ends where they may read it no more. Who asks by a
cookie is asked for each time.
Threads: one at a time, but for `remember` and `known`, which any may call.
"""

import io
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from dav.files import PIECE, FileBody
from dav.reply import CERTIFICATE, LASTING, SHOWN, TLS, Buffer, Environ, Headers, WsgiApp
from dav.warm import WarmTree
from dav.wire.heads import Fields, Line, read_fields, read_line
from dav.wire.ranges import ByteRange
from store.cache import ByteCache
from store.errors import NotWarm, StoreError
from store.vfs.tree import FileTree, Node

KEPT_S: Final = 10.0
COLD_S: Final = 1.0  # how long it is remembered which file of which tree had to be read by a thread
FIELDS: Final = 64  # lines of a head: browsers send some twenty, and thousands of short ones would take milliseconds
HEAD: Final = 16 << 10  # bytes of one, which holds a path of 4096 bytes that are all escaped
DEPTH: Final = 256  # slashes of a target: thousands of names take tens of milliseconds
ASKER_S: Final = 1.0  # how long it is known who asks by the same field lines from the same place
ANSWERS: Final = 32 << 20  # bytes of whole answers
SMALL: Final = 8 << 10  # bytes of a file up to which its answers are kept whole
LARGEST: Final = 8 << 20  # bytes of one
FILES: Final = 8 << 20  # bytes of heads of files
BLOCKS: Final = 1 << 20  # bytes of field lines that were read
_LENGTHS: Final = (b"Content-Length: ", b"Content-Range: ")
_PARTIAL: Final = b"HTTP/1.1 206 Partial Content\r\n%sContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n"


class Peer(NamedTuple):
    """Where a request comes from."""

    address: str
    tls: bool = False
    certificate: bytes = b""  # DER, of a client that has shown one


# Tells who asks, as a value that no two of them share and that logs write by `str`; `None`: not without waiting.
Identify = Callable[[Mapping[str, Any]], Hashable | None]


class Request(NamedTuple):
    """A request that may be answered here."""

    raw: bytes  # its head, without the empty line
    line: Line
    fields: Fields


class Answer(NamedTuple):
    """An answer to be sent."""

    status: int
    head: bytes  # status line and field lines, each with its CRLF; Date and Server are the sender's to add
    first: Iterable[Buffer]  # of the body
    rest: FileBody | None  # what comes behind `first`
    size: int  # bytes of the body
    who: Hashable = ""  # asked for it


class _File(NamedTuple):
    until_s: float
    tree: FileTree  # as it was shown to who asked
    node: Node
    lines: bytes  # the field lines of a 200, without Content-Length


class _Cold(NamedTuple):
    """A file whose beginning, or range, memory did not have: of the others that come at once none asks in vain."""

    until_s: float
    tree: FileTree
    node: Node


class Whole(NamedTuple):
    """An answer to the very same bytes as before."""

    until_s: float
    request: Request
    answer: Answer  # with its whole body in `first`


class FastLane:
    """The three ways, for one application."""

    def __init__(
        self, app: WsgiApp, *, identify: Identify | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Answer as an application does.

        Args:
            app: over a `WarmTree`, which may be another for each who asks; it raises `NotWarm` and nothing else.
            identify: tells who asks, by a request's environ; `None`: all are alike.
            clock: seconds.
        """
        self._app, self._identify, self._clock = app, identify, clock
        self._blocks: ByteCache[bytes, Fields] = ByteCache(BLOCKS)
        self._askers: ByteCache[tuple[bytes, Peer], tuple[Hashable, float]] = ByteCache(BLOCKS)
        self._files: ByteCache[tuple[Hashable, bytes], _File] = ByteCache(FILES)
        self._cold: ByteCache[tuple[Hashable, bytes], _Cold] = ByteCache(BLOCKS)
        self._answers: ByteCache[bytes, Whole] = ByteCache(ANSWERS)

    def read(self, head: bytes) -> Request | None:
        """Read a head (without its empty line), if it is one of the plain kind."""
        line = read_line(head) if len(head) <= HEAD else None
        if line is None or line.fields.count(b"\n") > FIELDS or line.target.count(b"/") > DEPTH:
            return None
        fields = self._blocks.get(line.fields)
        if fields is None:
            fields = read_fields(line.fields)
            if fields is None:
                return None
            self._blocks.put(line.fields, fields, 1000 + 4 * len(line.fields))
        if line.wanted and "HTTP_RANGE" in fields.environ:  # two of them
            return None
        return Request(head, line, fields)

    def known(self, data: bytes, peer: Peer) -> Whole | None:
        """Return what was answered to these bytes, one request from its first to its last, if that still holds."""
        if peer.certificate:  # says who asks, and is none of the bytes
            return None
        whole = self._answers.get(self._key(data, peer))
        return whole if whole is not None and whole.until_s > self._clock() else None

    def answer(self, request: Request, body: bytes, peer: Peer) -> Answer | None:
        """Answer a request whose body is whole; `None`: not here, nor is it `known`, so that a thread has to work."""
        whole = self.known(b"%s\r\n\r\n%s" % (request.raw, body), peer)
        if whole is not None:
            return whole.answer
        line, fields = request.line, request.fields
        now_s = self._clock()
        who = self._who(line, fields, peer, now_s)
        if who is None:
            return None
        if fields.harmless and not body:
            known = self._files.get((who, line.target))
            if known is not None and known.until_s > now_s and line.method in (b"GET", b"HEAD"):
                answer = self._file(known, line)
                if answer is not None:
                    answer = answer._replace(who=who)
                    if answer.rest is None and answer.size <= SMALL:
                        self._keep(request, b"", answer, known.until_s, peer)
                return answer
            cold = self._cold.get((who, line.target)) if line.method == b"GET" else None
            if cold is not None and cold.until_s > now_s and _lacks(cold, line):
                return None
        return self._asked(request, body, peer, who)

    def remember(
        self, request: Request, body: bytes, status: int, head: bytes, answer: bytes, peer: Peer, who: Hashable = ""
    ) -> None:
        """Keep what an application answered that said of it that it lasts."""
        self._keep(request, body, Answer(status, head, (answer,), None, len(answer), who), self._clock() + KEPT_S, peer)

    def _keep(self, request: Request, body: bytes, answer: Answer, until_s: float, peer: Peer) -> None:
        if peer.certificate or self._may_end(request.fields):  # the first says who asks, and is none of the bytes
            return
        key, content = self._key(b"%s\r\n\r\n%s" % (request.raw, body), peer), b"".join(answer.first)
        whole = Whole(until_s, request, answer._replace(first=(content,) if content else ()))
        self._answers.put(key, whole, 1000 + 2 * len(key) + len(answer.head) + len(content))

    def _key(self, data: bytes, peer: Peer) -> bytes:
        """Return what an answer is kept by.

        Where there is a login that is also who asked from where: else somebody elsewhere would learn from being
        answered that credentials are good.
        """
        return data if self._identify is None else b"%s %s" % (peer.address.encode(), data)

    # The ways

    def _who(self, line: Line, fields: Fields, peer: Peer, now_s: float) -> Hashable | None:
        if self._identify is None:
            return ""
        if self._may_end(fields):
            return self._identify({**fields.environ, **peer_environ(peer)})
        key = line.fields, peer
        known = self._askers.get(key)
        if known is not None and known[1] > now_s:
            return known[0]
        who = self._identify({**fields.environ, **peer_environ(peer)})
        if who is not None:
            self._askers.put(key, (who, now_s + ASKER_S), 1000 + len(line.fields) + len(peer.certificate))
        return who

    def _may_end(self, fields: Fields) -> bool:
        """Tell whether a browser's session says who asks: whoever logs out is logged out with the next request."""
        return self._identify is not None and "HTTP_COOKIE" in fields.environ

    def _file(self, known: _File, line: Line) -> Answer | None:
        size = known.node.size
        if line.wanted is None:
            start, stop, head = 0, size, b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n" % (known.lines, size)
            status = 200
        else:
            wanted = _wanted(line.wanted, size)
            if wanted is None:
                return None
            start, stop = wanted
            status, head = 206, _PARTIAL % (known.lines, start, stop - 1, size, stop - start)
        if line.method == b"HEAD" or stop == start:
            return Answer(status, head, (), None, 0)
        length = min(PIECE, stop - start)
        try:
            views = known.tree.read_warm(known.node, start, length)
        except StoreError:  # a thread tells what is wrong
            return None
        if views is None:
            return None
        rest = None
        if start + length < stop:
            rest = FileBody(known.tree, known.node, ByteRange(start + length, stop), [])
        return Answer(status, head, views, rest, stop - start)

    def _asked(self, request: Request, body: bytes, peer: Peer, who: Hashable) -> Answer | None:
        line = request.line
        environ = _environ(request, body, peer)
        told: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers) -> None:
            told.append((status, headers))

        try:
            found = self._app(environ, start)
        except NotWarm:
            asked = environ.get(SHOWN)
            if asked is not None and line.method == b"GET":
                cold = _Cold(self._clock() + COLD_S, _whole(asked[0]), asked[1])
                self._cold.put((who, line.target), cold, 800 + len(line.target))
            return None
        status, headers = told[0]
        code = int(status[:3])
        if ("Connection", "close") in headers:
            return None
        lines = [b"%s: %s\r\n" % (key.encode("latin-1"), value.encode("latin-1")) for key, value in headers]
        head = b"HTTP/1.1 %s\r\n%s" % (status.encode("latin-1"), b"".join(lines))
        lasts = bool(environ.get(LASTING))
        shown = environ.get(SHOWN)
        if (
            lasts
            and shown is not None
            and code in (200, 206)  # their heads differ in how much is sent alone
            and request.fields.harmless
            and "?" not in environ["REQUEST_URI"]
        ):
            self._learn((who, line.target), _whole(shown[0]), shown[1], lines)
        if isinstance(found, FileBody):
            found.tree = _whole(found.tree)  # who sends it may wait
            size = found.stop - found.at
            first, found.first = found.first, []
            found.at += sum(map(len, first))
            return Answer(code, head, first, found if found.at < found.stop else None, size, who)
        if not isinstance(found, tuple):
            close: Callable[[], None] | None = getattr(found, "close", None)
            if close is not None:
                close()
            return None
        content = b"".join(found)
        if lasts and line.method in (b"PROPFIND", b"OPTIONS") and code < 300:
            self.remember(request, body, code, head, content, peer, who)
        return Answer(code, head, (content,) if content else (), None, len(content), who)

    def _learn(self, key: tuple[Hashable, bytes], tree: FileTree, node: Node, lines: list[bytes]) -> None:
        kept = b"".join(line for line in lines if not line.startswith(_LENGTHS))
        cost = 800 + len(key[1]) + len(kept)
        self._files.put(key, _File(self._clock() + KEPT_S, tree, node, kept), cost)


def _whole(tree: FileTree) -> FileTree:
    return tree.whole if isinstance(tree, WarmTree) else tree


def _lacks(cold: _Cold, line: Line) -> bool:
    """Tell whether memory still lacks what is asked for; where in doubt it does not."""
    size = cold.node.size
    wanted = (0, size) if line.wanted is None else _wanted(line.wanted, size)
    if wanted is None:
        return False
    try:
        return cold.tree.read_warm(cold.node, wanted[0], min(PIECE, wanted[1] - wanted[0])) is None
    except StoreError:  # the application tells what is wrong
        return False


def _wanted(wanted: tuple[bytes, bytes], size: int) -> tuple[int, int] | None:
    """Return a range that can be served as it stands; `None` where there is more to say about it."""
    first, last = wanted
    if not first:
        return None
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else None


def _environ(request: Request, body: bytes, peer: Peer) -> Environ:
    line = request.line
    target = line.target.decode("ascii")
    environ: Environ = {**request.fields.environ, **peer_environ(peer)}
    if line.wanted is not None:
        environ["HTTP_RANGE"] = f"bytes={line.wanted[0].decode()}-{line.wanted[1].decode()}"
    environ["REQUEST_METHOD"] = line.method.decode("ascii")
    environ["REQUEST_URI"] = target
    environ["PATH_INFO"] = target.partition("?")[0]
    environ["QUERY_STRING"] = target.partition("?")[2]
    environ["SCRIPT_NAME"] = ""
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    environ["wsgi.input"] = io.BytesIO(body)
    return environ


def peer_environ(peer: Peer) -> Environ:
    """Return what an application is told of where a request comes from."""
    scheme = "https" if peer.tls else "http"
    return {"REMOTE_ADDR": peer.address, "wsgi.url_scheme": scheme, TLS: peer.tls, CERTIFICATE: peer.certificate}
