"""The WebDAV application (RFC 4918, class 1, read-only): dispatch by method, wsgidav's resources behind it.

Content, OPTIONS and every refusal are answered here, PROPFIND by `dav.multistatus`; PROPPATCH is checked here (size and
form of the body) before wsgidav's part with a clean environ. There are no redirects: a collection without its slash
answers as with it, because gvfs and others take a redirect for an error.
Threads: any; it holds no state but the table of types and what `dav.probes` remembers.
"""

import copy
import hashlib
import io
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from xml.etree.ElementTree import register_namespace

from wsgidav.dav_error import DAVError
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from dav.clients import is_finder, is_mini_redirector
from dav.files import PRIVATE, cache_control, check, file_reply, lasting
from dav.gzipped import LEAST, gzipped
from dav.media import OCTETS, MediaTypes
from dav.multistatus import LARGE, Asked, Multistatus
from dav.probes import Probes, is_hint
from dav.properties import Page
from dav.provider import TreeProvider, prepare
from dav.reply import (
    LASTING,
    Buffer,
    Environ,
    Headers,
    Reply,
    StartResponse,
    header,
    read_body,
    send,
    target_of,
    text_reply,
)
from dav.resolve import Found, split_scope, start
from dav.wire.conditions import Validators, strong_etag
from dav.wire.dates import http_date
from dav.wire.errors import BodyBroken, BodyTooLarge, DepthRefused
from dav.wire.multistatus import END, escape, propertyupdate
from dav.wire.paths import quote_path, spelt_path, split_target
from dav.wire.preferences import accepts_gzip, is_brief, prefers_minimal
from dav.wire.propfind import MAX_BODY, Propfind, parse_depth, parse_propfind, parse_proppatch
from store.errors import NotAFolder, PathMissing, TreeReadOnly
from store.vfs.tree import FileDigests, FileTree, Kind, Node, Space

ALLOW: Final = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH"
WRITERS: Final = frozenset(("PUT", "DELETE", "MKCOL", "COPY", "MOVE", "POST", "PATCH"))
FINITE_DEPTH: Final = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>\n'
)
XML: Final = "application/xml; charset=utf-8"

# Class 1 alone: Finder then mounts read-only from the start. MS-Author-Via is what Explorer looks for.
_DAV: Final = (("DAV", "1"), ("MS-Author-Via", "DAV"))
_NS: Final = 1_000_000_000
_VARY: Final = ("Vary", "Accept-Encoding, Brief, Prefer")
_EMPTY: Final = FileDigests(hashlib.sha256().digest(), hashlib.md5(usedforsecurity=False).digest())


class DavApp:
    """A WSGI application for `prefix` and for the host's root, where clients ask first."""

    def __init__(self, tree: FileTree, media: MediaTypes, *, prefix: str = "/webdav") -> None:
        """Serve `tree` below `prefix`."""
        self._tree, self._media, self._prefix = tree, media, prefix
        self._depth = prefix.count("/")  # names of a request path that belong to the prefix
        self._probes = Probes(tree)
        # ElementTree's table of prefixes is the process's own; Explorer is known to read `D:`.
        register_namespace("D", "DAV:")
        # What goes wrong in wsgidav reaches us as an exception; its own log would only say it twice.
        logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
        self._provider = TreeProvider()
        self._wsgidav = WsgiDAVApp(
            {
                "provider_mapping": {"/": self._provider},
                "middleware_stack": [RequestResolver],
                "lock_storage": False,
                "property_manager": False,
                "http_authenticator": {"accept_basic": False, "accept_digest": False, "default_to_digest": False},
                "verbose": 0,
                "logging": {"enable": False},
                "suppress_version_info": True,
                "hotfixes": {"re_encode_path_info": False, "unquote_path_info": False},
            }
        )

    def over(self, tree: FileTree) -> "DavApp":
        """Return the same application over another tree, such as what one principal may see; it costs little."""
        other = copy.copy(self)
        other._tree, other._probes = tree, Probes(tree)
        return other

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request.

        Raises:
            StoreError, WireError: nothing was sent yet; `dav.status` has their codes.
        """
        try:
            reply = self._dispatch(environ)
        except DepthRefused:
            reply = Reply(403, [("Content-Type", XML), ("Content-Length", str(len(FINITE_DEPTH)))], (FINITE_DEPTH,))
        return send(reply, environ, start_response)

    def _dispatch(self, environ: Environ) -> Reply:
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return Reply(200, [*_DAV, ("Allow", ALLOW), ("Content-Length", "0")])
        if method in WRITERS:
            return text_reply(403, str(TreeReadOnly()))
        if method not in ("GET", "HEAD", "PROPFIND", "PROPPATCH"):
            return text_reply(405, f"{method} is not for published states, which are read-only", [("Allow", ALLOW)])
        if method == "PROPFIND":
            return self._propfind(environ, self._finite_depth(environ), parse_propfind(_body(environ)))
        if method == "PROPPATCH":
            return self._proppatch(environ, parse_proppatch(_body(environ)))
        return self._get(environ)

    def _get(self, environ: Environ) -> Reply:
        names = self._names(environ)
        try:
            found = self._found(environ, names)
        except PathMissing:
            hint = self._hint(environ, names)
            if hint is None:
                raise
            return self._empty(environ, hint)
        if found.node.kind is Kind.FILE:
            environ[LASTING] = lasting(self._tree, found.state)
            headers = [("Cache-Control", cache_control(self._tree, found.state))]
            name = (names or (b"",))[-1]
            return file_reply(self._tree, found.node, name, environ, self._media, headers, state=found.state)
        return text_reply(200, "This is a WebDAV collection. Browsers find the same files below /fs/.", _DAV)

    def _empty(self, environ: Environ, hint: Node) -> Reply:
        current = Validators(strong_etag(_EMPTY.sha256), hint.mtime_ns // _NS)
        # Who else asks is told that it is not there, so that no cache may keep it for all.
        headers = [
            ("ETag", current.etag),
            ("Last-Modified", http_date(hint.mtime_ns // _NS)),
            ("Cache-Control", PRIVATE),
        ]
        _, refusal = check(environ, current, headers)
        return refusal or Reply(200, [*headers, ("Content-Type", OCTETS), ("Content-Length", "0")])

    def _names(self, environ: Mapping[str, Any]) -> tuple[bytes, ...] | None:
        """Return the path's names below the prefix; `None` for the host's root."""
        names = split_target(target_of(environ)).names
        return split_scope(names[self._depth :]) if names else None

    def _found(self, environ: Mapping[str, Any], names: tuple[bytes, ...] | None) -> Found:
        """Find what a request is about.

        With a slash behind its name a file is not there: rclone takes an answer for a folder, and one without entries
        has its `sync` delete what lies at the other end.
        """
        found = start(self._tree) if names is None else self._probes.resolve(names)
        if names and found.node.kind is Kind.FILE and split_target(target_of(environ)).slash:
            raise NotAFolder(names[-1])
        return found

    def _hint(self, environ: Mapping[str, Any], names: tuple[bytes, ...] | None) -> Node | None:
        """Return the empty file that Finder is to find in a folder though it is not there (`dav.probes`)."""
        if not names or not is_hint(names[-1]) or not is_finder(header(environ, "User-Agent")):
            return None
        folder = self._probes.resolve(names[:-1]).node
        return folder._replace(kind=Kind.FILE, size=0, executable=False) if folder.kind is Kind.FOLDER else None

    def _finite_depth(self, environ: Mapping[str, Any]) -> int:
        """Return the Depth of a PROPFIND. Nothing is below a file, and so infinity, said or meant, is 0 there.

        It is refused of collections alone (RFC 4918 section 9.1.1). webdav4 asks for a file without a Depth.
        """
        value = header(environ, "Depth")
        if (value is None or value.strip().lower() == "infinity") and (names := self._names(environ)):
            return 0 if self._found(environ, names).node.kind is Kind.FILE else parse_depth(value)
        return parse_depth(value)

    def _propfind(self, environ: Environ, depth: int, wanted: Propfind) -> Reply:
        names = self._names(environ)
        minimal = prefers_minimal(header(environ, "Prefer"))
        asked = Asked(
            wanted,
            minimal=minimal or is_brief(header(environ, "Brief")),
            few=is_mini_redirector(header(environ, "User-Agent")),
        )
        pieces = self._multistatus(environ, names, depth, Multistatus(self._tree, self._media, asked))
        first = next(pieces)  # a page of entries is read before the status is decided; most folders are whole by then
        headers = [("Content-Type", XML), *_DAV, ("Cache-Control", "no-cache"), _VARY]
        if minimal:
            headers.append(("Preference-Applied", "return=minimal"))
        whole = first.endswith(END)
        zipped = accepts_gzip(header(environ, "Accept-Encoding")) and len(first) >= LEAST
        body: Iterable[bytes] = (first,) if whole else itertools.chain((first,), pieces)
        if zipped:
            headers.append(("Content-Encoding", "gzip"))
            body = gzipped(body)
        if whole:
            content = b"".join(body)
            return Reply(207, [*headers, ("Content-Length", str(len(content)))], (content,))
        return Reply(207, headers, body)

    def _multistatus(
        self, environ: Environ, names: tuple[bytes, ...] | None, depth: int, answer: Multistatus
    ) -> Iterator[bytes]:
        """Yield the document; its first piece is whole unless the folder has more entries than one page."""
        try:
            found = self._found(environ, names)
        except PathMissing:
            hint = self._hint(environ, names)
            if hint is None or names is None:
                raise
            page = Page(self._tree, self._media, names[-1:], [hint], digests=[_EMPTY])
            yield answer.begin() + answer.response(page, escape(spelt_path(target_of(environ)))) + END
            return
        if found.node.place.space is Space.ROOT:  # found without asking, with the times that were known last
            found = Found((self._tree.node(found.node.place),), 0)
        large = depth > 0 and found.node.size > LARGE  # not worth being kept
        environ[LASTING] = names is not None and not large and lasting(self._tree, found.state)
        href = escape(_href(environ, found))
        begun = answer.begin() + answer.response(self._page(self._name(names), found), href)
        if not depth or found.node.kind is not Kind.FOLDER:
            yield begun + END
        elif names is None:  # above everything stands the mount alone
            yield begun + answer.response(self._page(self._name(()), found), f"{self._prefix}/") + END
        else:
            yield from answer.rest(begun, found, href)

    def _name(self, names: tuple[bytes, ...] | None) -> bytes:
        """Return what something is called: the mount by its prefix, the host's root by nothing."""
        return b"" if names is None else (names or (self._prefix[1:].encode(),))[-1]

    def _page(self, name: bytes, found: Found) -> Page:
        return Page(self._tree, self._media, [name], [found.node])

    def _proppatch(self, environ: Environ, properties: Sequence[str]) -> Reply:
        names = self._names(environ)
        found = self._found(environ, names)
        # wsgidav takes comments, and elements that RFC 4918 section 17 has ignored, for errors: it sees names alone.
        body = propertyupdate(properties)
        # A fresh environ: conditional headers and the like mean nothing for properties.
        inner: Environ = {
            "REQUEST_METHOD": "PROPPATCH",
            "SCRIPT_NAME": "",
            "PATH_INFO": quote_path(names or ()) or "/",
            "wsgi.url_scheme": environ.get("wsgi.url_scheme", "http"),
            "wsgidav.auth.user_name": "",
            "wsgidav.provider": self._provider,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        prepare(inner, found, _href(environ, found))
        status: list[int] = []
        headers: Headers = []

        def begin(line: str, fields: Headers, _error: object = None) -> None:
            status[:] = [int(line[:3])]
            headers[:] = [(key, value) for key, value in fields if key not in ("Date", "Connection")]

        try:
            content = b"".join(self._wsgidav(inner, begin))
        except DAVError as error:
            return text_reply(error.value, f"PROPPATCH cannot be answered: {error.get_user_info()}")
        return Reply(status[0], [*headers, *_DAV], (content,))


def _href(environ: Mapping[str, Any], found: Found) -> str:
    """Return the href of what a request is about; a collection's ends in a slash."""
    return spelt_path(target_of(environ)) + ("/" if found.node.kind is Kind.FOLDER else "")


def _body(environ: Mapping[str, Any]) -> bytes:
    """Read a body of up to `MAX_BODY` bytes, whether its length was said or it came in chunks."""
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isdecimal():
        if int(length) > MAX_BODY:
            raise BodyTooLarge(MAX_BODY)
        body = read_body(environ, int(length))
        if len(body) < int(length):
            raise BodyBroken(f"it ended after {len(body)} bytes of {length}")
        return body
    if header(environ, "Transfer-Encoding") is None:
        return b""
    body = read_body(environ, MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise BodyTooLarge(MAX_BODY)
    return body
