"""`/fs/<dataset>/<tag>/<path>`: the tree over plain HTTP (RFC 9110), files and folders.

A scoped dataset is written `@scope/name` or `@scope%2Fname`. Symbolic links are followed inside their state alone
(`dav.resolve`); in listings they show as links. Folders answer with or without their slash, never by a redirect.
What was reached by a channel says in Content-Location where the same bytes stay for ever.
Threads: any; it holds no state but the compiled page and the table of types.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dav.files import cache_control, file_reply, lasting
from dav.media import MediaTypes
from dav.reply import LASTING, Buffer, Environ, Headers, Reply, StartResponse, header, send, target_of, text_reply
from dav.resolve import Found, resolve, split_scope
from dav.wire.paths import quote_path, split_target
from gateway.web.listing import HTML_PAGE, JSON_PAGE, FolderPages, as_text, json_body
from store.errors import NotAFolder
from store.vfs.tree import FileTree, Kind

ALLOW: Final = "GET, HEAD, OPTIONS"
_MAX_COOKIE: Final = 2**63 - 8


class FilesApp:
    """A WSGI application for everything below `prefix`. Errors of the store are left to the application around it."""

    def __init__(self, tree: FileTree, media: MediaTypes, *, prefix: str = "/fs") -> None:
        """Serve `tree` below `prefix`."""
        self._tree, self._media, self._prefix = tree, media, prefix
        self._depth = prefix.count("/")
        self._pages = FolderPages()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request.

        Raises:
            StoreError: nothing there, or the store could not be read; nothing was sent yet.
        """
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            reply = Reply(200, [("Allow", ALLOW), ("Content-Length", "0")])
        elif method not in ("GET", "HEAD"):
            reply = text_reply(405, f"{method} is not for published states, which are read-only", [("Allow", ALLOW)])
        else:
            reply = self._get(environ)
        return send(reply, environ, start_response)

    def _get(self, environ: Environ) -> Reply:
        path = split_target(target_of(environ))
        names = split_scope(path.names[self._depth :])
        found = resolve(self._tree, names)
        environ[LASTING] = lasting(self._tree, found.state)
        headers: Headers = [("Cache-Control", cache_control(self._tree, found.state)), ("Vary", "Accept")]
        if found.node.kind is Kind.FOLDER:
            return self._folder(environ, found, names, headers)
        if path.slash:
            raise NotAFolder(names[-1])
        fields = [*headers[:1], *self._pinned(found, names)]
        return file_reply(self._tree, found.node, names[-1], environ, self._media, fields, state=found.state)

    def _pinned(self, found: Found, names: tuple[bytes, ...]) -> Headers:
        """Return a Content-Location that names the state, for what was reached by a channel."""
        state = found.state
        if state is None or self._tree.following(state) == state:
            return []
        depth = found.floor  # names up to and with the tag, which stands at the end of them
        pinned = (*names[: depth - 1], b"b3-" + state.place.manifest.hex().encode(), *names[depth:])
        return [("Content-Location", self._prefix + quote_path(pinned))]

    def _folder(self, environ: Environ, found: Found, names: tuple[bytes, ...], headers: Headers) -> Reply:
        href = f"{self._prefix}{quote_path(names)}/"
        if _wants_json(header(environ, "Accept")):
            path = "/" + "/".join(as_text(name) for name in names)
            first = self._tree.children(found.node, limit=JSON_PAGE)
            headers += [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
            return Reply(200, headers, json_body(self._tree, found.node, href, path, first))
        page = self._tree.children(found.node, after=_after(environ), limit=HTML_PAGE)
        crumbs = [("datasets", f"{self._prefix}/")]
        crumbs += [(as_text(name), f"{self._prefix}{quote_path(names[: i + 1])}/") for i, name in enumerate(names)]
        body = self._pages.render(self._tree, crumbs, href, page)
        headers += [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", self._pages.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        return Reply(200, headers, (body,))


def _wants_json(accept: str | None) -> bool:
    """Tell whether JSON is named and HTML is not: browsers name HTML, programs that take anything get the page."""
    return accept is not None and "application/json" in accept and "text/html" not in accept


def _after(environ: Mapping[str, Any]) -> int:
    """Return the cookie of `?after=`; the start for anything that is none."""
    for pair in str(environ.get("QUERY_STRING", "")).split("&"):
        key, _, value = pair.partition("=")
        if key == "after" and value.isdecimal() and value.isascii() and len(value) < 20:
            return min(int(value), _MAX_COOKIE)
    return 0
