"""The HTTP application: which path goes where, and what becomes of errors.

    /fs/...  plain files      /webdav/...  WebDAV      /healthz  alive      /readyz  able to serve
    /        browsers go to /fs/; OPTIONS and PROPFIND are WebDAV's, whose clients ask at the host's root first

Every error ends here: those of the store become status codes by `dav.status`; what nobody expected is logged once, with
a request id, and the client gets a bare 500 that names the id. Threads: any; holds no state.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from dav.app import DavApp
from dav.fast import FastLane
from dav.media import MediaTypes
from dav.reply import Buffer, Environ, Headers, Reply, StartResponse, WsgiApp, discard_body, send, target_of, text_reply
from dav.status import explain, status_of
from dav.warm import WarmTree
from dav.wire.errors import WireError
from dav.wire.paths import split_target
from gateway.web.files import FilesApp
from store.errors import NotWarm, StoreError
from store.vfs.tree import FileTree

RETRY_AFTER_S: Final = 5
_DAV_METHODS: Final = ("OPTIONS", "PROPFIND", "PROPPATCH", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")

_log = structlog.stdlib.get_logger("aetherfs.http")


def make_wsgi_app(tree: FileTree, *, prompt: bool = False) -> WsgiApp:
    """Return the application over what one principal may see; `prompt`: see `HttpApp`."""
    media = MediaTypes()
    return HttpApp(tree, files=FilesApp(tree, media), webdav=DavApp(tree, media), prompt=prompt)


def make_fast_lane(tree: FileTree) -> FastLane:
    """Return what answers some requests without a thread, as `make_wsgi_app` would."""
    return FastLane(tree, make_wsgi_app(WarmTree(tree), prompt=True))


class HttpApp:
    """Routing and the end of all errors."""

    def __init__(self, tree: FileTree, *, files: WsgiApp, webdav: WsgiApp, prompt: bool = False) -> None:
        """Route to the two applications that show `tree`.

        Args:
            tree: what is shown.
            files: answers below /fs/.
            webdav: answers below /webdav/.
            prompt: raise `NotWarm` for what fails on our side, so that a thread does it again and tells what is wrong.
        """
        self._tree, self._files, self._webdav, self._prompt = tree, files, webdav, prompt

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request; raises nothing, except where a body breaks off while it is sent."""

        def start(status: str, headers: Headers) -> None:
            # Clients that are still sending miss an answer that comes with a reset. One that waits to be asked for its
            # body is not asked.
            held_back = "HTTP_EXPECT" in environ
            close = [] if not held_back and discard_body(environ) else [("Connection", "close")]
            start_response(status, [*headers, *close])

        try:
            return self._route(environ, start)
        except (StoreError, WireError) as error:
            status = status_of(error)
            if status >= 500 and self._prompt:
                raise NotWarm from error
            if status >= 500:
                return send(_failed(environ, error, status), environ, start)
            return send(text_reply(status, explain(error)), environ, start)
        except Exception as error:  # the shell's one catch-all: nothing was sent yet
            if self._prompt:
                raise NotWarm from error
            return send(_failed(environ, error, 500), environ, start)

    def _route(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        names = split_target(target_of(environ)).names
        method = environ["REQUEST_METHOD"]
        top = names[0] if names else b""
        if top == b"fs":
            return self._files(environ, start_response)
        if top == b"webdav" or (not names and method in _DAV_METHODS):
            return self._webdav(environ, start_response)
        return send(self._own(method, names), environ, start_response)

    def _own(self, method: str, names: tuple[bytes, ...]) -> Reply:
        if names not in ((), (b"healthz",), (b"readyz",)):
            return text_reply(404, "nothing here; files are below /fs/ and /webdav/")
        if method not in ("GET", "HEAD"):
            return text_reply(405, f"{method} is not for this", [("Allow", "GET, HEAD")])
        fresh = [("Cache-Control", "no-store")]
        if names == (b"healthz",):
            return text_reply(200, "alive", fresh)
        if names == (b"readyz",):
            self._tree.children(self._tree.root(), limit=1)
            return text_reply(200, "ready", fresh)
        return text_reply(302, "files are below /fs/", [("Location", "/fs/")])


def _failed(environ: Mapping[str, Any], error: Exception, status: int) -> Reply:
    request_id = secrets.token_hex(8)
    _log.error(
        "request failed",
        request_id=request_id,
        method=environ.get("REQUEST_METHOD"),
        target=target_of(environ)[:2048],
        status=status,
        error=str(error),
        exc_info=error if not isinstance(error, StoreError) else None,
    )
    headers = [("X-Request-Id", request_id), ("Cache-Control", "no-store")]
    if status == 503:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    return text_reply(status, f"{explain(error)} (request {request_id})", headers)
