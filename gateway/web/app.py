"""The HTTP application: which path goes where, and what becomes of errors.

    /fs/...  plain files      /webdav/...  WebDAV      /healthz  alive      /readyz  able to serve
    /api/v1/...  REST         /ui/...  login
    /        browsers go to /fs/; OPTIONS and PROPFIND are WebDAV's, whose clients ask at the host's root first

Every error ends here: those of the store become status codes by `dav.status`; what nobody expected is logged once, with
a request id, and the client gets a bare 500 that names the id. Threads: any.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from dav.app import ALLOW, DavApp
from dav.fast import FastLane
from dav.media import MediaTypes
from dav.reply import Buffer, Environ, Headers, Reply, StartResponse, WsgiApp, discard_body, send, target_of, text_reply
from dav.status import explain, status_of
from dav.warm import WarmTree
from dav.wire.errors import WireError
from dav.wire.paths import split_target
from gateway.access.gate import Stopped
from gateway.forwarded import Proxies
from gateway.web.api.problems import as_problem
from gateway.web.failures import noted
from gateway.web.files import FilesApp
from gateway.web.readiness import Readiness
from store.errors import NotWarm, StoreError
from store.vfs.tree import FileTree

_OPEN_API: Final = ((b"api", b"v1", b"login"), (b"api", b"v1", b"openapi.json"))  # for those who did not log in yet
_DAV_METHODS: Final = ("OPTIONS", "PROPFIND", "PROPPATCH", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")


class Shown(NamedTuple):
    """The applications over what one principal may see."""

    files: FilesApp
    webdav: DavApp

    def over(self, tree: FileTree) -> "Shown":
        """Return the same over another tree."""
        return Shown(self.files.over(tree), self.webdav.over(tree))


class Guard(Protocol):
    """Login and policy, where there are any (`gateway.access.guard`)."""

    def admit(self, environ: Environ, names: tuple[bytes, ...]) -> Shown: ...
    def admit_api(self, environ: Environ) -> object: ...
    def identify(self, environ: Mapping[str, Any]) -> Hashable | None: ...
    def prompt(self) -> "Guard": ...


class Parts(NamedTuple):
    """What else there is beside the tree."""

    guard: Guard | None = None
    api: WsgiApp | None = None  # below /api/v1
    login: WsgiApp | None = None  # below /ui
    proxies: Proxies | None = None  # that are believed whom they ask for


def show(tree: FileTree) -> Shown:
    """Return the applications over a tree; `over` of each makes them for another."""
    media = MediaTypes()
    return Shown(FilesApp(tree, media), DavApp(tree, media))


def make_wsgi_app(tree: FileTree, parts: Parts = Parts(), *, prompt: bool = False) -> WsgiApp:  # noqa: B008  # immutable
    """Return the application over a tree: as it is, or behind a guard; `prompt`: see `HttpApp`."""
    return HttpApp(tree, show(tree), parts, prompt=prompt)


def make_fast_lane(tree: FileTree, parts: Parts = Parts()) -> FastLane:  # noqa: B008  # immutable
    """Return what answers some requests without a thread, as `make_wsgi_app` would."""
    guard, proxies = parts.guard.prompt() if parts.guard is not None else None, parts.proxies
    app = make_wsgi_app(WarmTree(tree), Parts(guard, proxies=proxies), prompt=True)
    if guard is None or proxies is None:
        return FastLane(app, identify=guard.identify if guard is not None else None)
    return FastLane(app, identify=lambda environ: guard.identify({**environ, **client_address(proxies, environ)}))


class HttpApp:
    """Routing and the end of all errors."""

    def __init__(self, tree: FileTree, shown: Shown, parts: Parts, *, prompt: bool = False) -> None:
        """Route to the applications.

        Args:
            tree: asked whether the store can be reached.
            shown: the applications, where there is no guard.
            parts: the others. Where nobody may wait, only a guard.
            prompt: raise `NotWarm` for what fails on our side, so that a thread does it again and tells what is wrong.
        """
        self._readiness, self._shown, self._parts, self._prompt = Readiness(tree), shown, parts, prompt

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request; raises nothing, except where a body breaks off while it is sent.

        From here on REMOTE_ADDR is the client's address, also where a trusted proxy asks.
        """
        if self._parts.proxies is not None:
            environ.update(client_address(self._parts.proxies, environ))

        def start(status: str, headers: Headers) -> None:
            # Clients that are still sending miss an answer that comes with a reset. One that waits to be asked for its
            # body is not asked.
            held_back = "HTTP_EXPECT" in environ
            close = [] if not held_back and discard_body(environ) else [("Connection", "close")]
            # What says nothing of caches may be kept by one that many share, and depends on who asked; what is not
            # there, or was refused, may be there soon.
            free = self._parts.guard is None and (status < "400" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"))
            kept = free or any(name == "Cache-Control" for name, _ in headers)
            start_response(status, [*headers, *([] if kept else [("Cache-Control", "no-store")]), *close])

        try:
            return self._route(environ, start)
        except Stopped as stopped:
            return send(stopped.reply, environ, start)
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
            return self._seen_by(environ, names[1:]).files(environ, start_response)
        if top == b"webdav" or (not names and method in _DAV_METHODS):
            return self._seen_by(environ, names[1:]).webdav(environ, start_response)
        if top in (b"api", b"ui") and self._prompt:
            raise NotWarm
        if top == b"api" and self._parts.api is not None:
            try:
                if self._parts.guard is not None and names not in _OPEN_API:
                    self._parts.guard.admit_api(environ)
            except Stopped as stopped:
                return send(as_problem(stopped.reply), environ, start_response)
            return self._parts.api(environ, start_response)
        if top == b"ui" and self._parts.login is not None:
            return self._parts.login(environ, start_response)
        return send(self._own(method, names), environ, start_response)

    def _seen_by(self, environ: Environ, names: tuple[bytes, ...]) -> Shown:
        """Return the applications over what whoever asks may see."""
        return self._shown if self._parts.guard is None else self._parts.guard.admit(environ, names)

    def _own(self, method: str, names: tuple[bytes, ...]) -> Reply:
        if names not in ((), (b"healthz",), (b"readyz",)):
            return text_reply(404, "nothing here; files are below /fs/ and /webdav/")
        if method not in ("GET", "HEAD"):
            return text_reply(405, f"{method} is not for this", [("Allow", "GET, HEAD" if names else ALLOW)])
        fresh = [("Cache-Control", "no-store")]
        if names == (b"healthz",):
            return text_reply(200, "alive", fresh)
        if names == (b"readyz",):
            self._readiness.check()
            return text_reply(200, "ready", fresh)
        return text_reply(302, "files are below /fs/", [("Location", "/fs/")])


def client_address(proxies: Proxies, environ: Mapping[str, Any]) -> dict[str, str]:
    """Return where a request comes from, as an environ has it."""
    forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
    return {"REMOTE_ADDR": proxies.client_of(environ["REMOTE_ADDR"], forwarded)}


def _failed(environ: Mapping[str, Any], error: Exception, status: int) -> Reply:
    request_id, headers = noted(environ, error, status)
    return text_reply(status, f"{explain(error)} (request {request_id})", [*headers, ("Cache-Control", "no-store")])
