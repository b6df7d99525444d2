"""The WebDAV application (RFC 4918, class 1, read-only): dispatch by method, wsgidav's resources behind it.

Content, OPTIONS and every refusal are answered here; PROPFIND and PROPPATCH are checked here (Depth, size and form of
the body) before wsgidav's part with a clean environ. Large folders are listed while they are read. There are no
redirects: a collection without its slash answers as with it, because gvfs and others take a redirect for an error.
Threads: any; it holds no state but the table of types.
"""

import io
import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.etree.ElementTree import register_namespace

from wsgidav.dav_error import DAVError
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from dav.files import cache_control, file_reply, lasting
from dav.media import MediaTypes
from dav.provider import END, OC, TreeProvider, multistatus, prepare
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
from dav.resolve import resolve, split_scope, start
from dav.wire.errors import BodyTooLarge, DepthRefused
from dav.wire.paths import quote_path, split_target
from dav.wire.propfind import MAX_BODY, Mode, Propfind, parse_depth, parse_propfind, parse_proppatch
from store.errors import TreeReadOnly
from store.vfs.tree import FileTree, Kind

ALLOW: Final = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH"
WRITERS: Final = frozenset(("PUT", "DELETE", "MKCOL", "COPY", "MOVE", "POST", "PATCH"))
FINITE_DEPTH: Final = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>\n'
)
XML: Final = "application/xml; charset=utf-8"

# Class 1 alone: Finder then mounts read-only from the start. MS-Author-Via is what Explorer looks for.
_DAV: Final = (("DAV", "1"), ("MS-Author-Via", "DAV"))


class DavApp:
    """A WSGI application for `prefix` and for the host's root, where clients ask first."""

    def __init__(self, tree: FileTree, media: MediaTypes, *, prefix: str = "/webdav") -> None:
        """Serve `tree` below `prefix`."""
        self._tree, self._media, self._prefix = tree, media, prefix
        self._depth = prefix.count("/")  # names of a request path that belong to the prefix
        # ElementTree's table of prefixes is the process's own; Explorer is known to read `D:`.
        register_namespace("D", "DAV:")
        register_namespace("oc", OC)
        # What goes wrong in wsgidav reaches us as an exception; its own log would only say it twice.
        logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
        self._provider = TreeProvider(tree, prefix, media)
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
            depth = parse_depth(header(environ, "Depth"))
            return self._propfind(environ, depth, parse_propfind(_body(environ)))
        if method == "PROPPATCH":
            body = _body(environ)
            parse_proppatch(body)
            return self._proppatch(environ, body)
        return self._get(environ)

    def _get(self, environ: Environ) -> Reply:
        names = self._names(environ)
        found = resolve(self._tree, names or ())
        if found.node.kind is Kind.FILE:
            environ[LASTING] = lasting(self._tree, found.state)
            headers = [("Cache-Control", cache_control(self._tree, found.state))]
            name = (names or (b"",))[-1]
            return file_reply(self._tree, found.node, name, environ, self._media, headers, state=found.state)
        return text_reply(200, "This is a WebDAV collection. Browsers find the same files below /fs/.", _DAV)

    def _names(self, environ: Mapping[str, Any]) -> tuple[bytes, ...] | None:
        """Return the path's names below the prefix; `None` for the host's root."""
        names = split_target(target_of(environ)).names
        return split_scope(names[self._depth :]) if names else None

    def _propfind(self, environ: Environ, depth: int, wanted: Propfind) -> Reply:
        inner = self._inner(environ, wanted)
        own = self._provider.get_resource_inst(inner["PATH_INFO"], inner)
        pieces = multistatus(itertools.chain((own,), own.members() if depth else ()))
        # The head and the first batch are made before the status is decided; most folders are whole by then.
        begun = list(itertools.islice(pieces, 2))
        headers = [("Content-Type", XML), *_DAV, ("Cache-Control", "no-cache")]
        if not begun[-1].endswith(END):
            return Reply(207, headers, itertools.chain(begun, pieces))
        content = b"".join(begun)
        return Reply(207, [*headers, ("Content-Length", str(len(content)))], (content,))

    def _proppatch(self, environ: Environ, body: bytes) -> Reply:
        inner = self._inner(environ, Propfind(Mode.NAMED, ()))
        inner |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
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

    def _inner(self, environ: Environ, wanted: Propfind) -> Environ:
        """Return a fresh environ for wsgidav: conditional headers and the like mean nothing for properties."""
        names = self._names(environ)
        found = start(self._tree) if names is None else resolve(self._tree, names)
        inner: Environ = {
            "REQUEST_METHOD": environ["REQUEST_METHOD"],
            "SCRIPT_NAME": "",
            "PATH_INFO": quote_path(names or ()) or "/",
            "wsgi.url_scheme": environ.get("wsgi.url_scheme", "http"),
            "wsgidav.auth.user_name": "",
            "wsgidav.provider": self._provider,
        }
        environ[LASTING] = names is not None and lasting(self._tree, found.state)
        prepare(inner, found, wanted, host_root=names is None)
        return inner


def _body(environ: Mapping[str, Any]) -> bytes:
    """Read a body of up to `MAX_BODY` bytes, whether its length was said or it came in chunks."""
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isdecimal():
        if int(length) > MAX_BODY:
            raise BodyTooLarge(MAX_BODY)
        return read_body(environ, int(length))
    if header(environ, "Transfer-Encoding") is None:
        return b""
    body = read_body(environ, MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise BodyTooLarge(MAX_BODY)
    return body
