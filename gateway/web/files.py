"""`/fs/<dataset>/<tag>/<path>`: the tree over plain HTTP (RFC 9110), files and folders.

A scoped dataset is written `@scope/name` or `@scope%2Fname`. Symbolic links are followed inside their state alone
(`dav.resolve`); in listings they show as links. Folders answer with or without their slash, never by a redirect: as a
page, as JSON where `Accept` asks for it, and as an archive with `?archive=tar` or `zip`. What was reached by a channel
says in Content-Location where the same stays for ever.
Threads: any; it holds the compiled page, the table of types, and what archives share.
"""

import copy
import itertools
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from dav.files import SHIELD, cache_control, check, file_reply, lasting
from dav.media import MediaTypes
from dav.reply import LASTING, Buffer, Environ, Headers, Reply, StartResponse, header, send, target_of, text_reply
from dav.resolve import Found, resolve, split_scope
from dav.wire.conditions import Validators, strong_etag
from dav.wire.disposition import attachment
from dav.wire.paths import quote_path, split_target
from gateway.web import archive
from gateway.web.accept import best_of
from gateway.web.archive import FORMATS, Archives
from gateway.web.listing import JSON_PAGE, as_text, json_body, state_name
from gateway.web.order import page_of, read_wish
from gateway.web.page import FolderPages, Shown
from store.errors import NotAFolder
from store.vfs.tree import FileTree, Kind

ALLOW: Final = "GET, HEAD, OPTIONS"
_JSON: Final = "application/json"
_FORMS: Final = ("text/html", _JSON)  # of a folder
_PARAMETERS: Final = 16  # of a query that are looked at


class FilesApp:
    """A WSGI application for everything below `prefix`. Errors of the store are left to the application around it."""

    def __init__(self, tree: FileTree, media: MediaTypes, *, prefix: str = "/fs") -> None:
        """Serve `tree` below `prefix`."""
        self._tree, self._media, self._prefix = tree, media, prefix
        self._depth = prefix.count("/")
        self._pages = FolderPages()
        self._archives = Archives()

    def over(self, tree: FileTree) -> "FilesApp":
        """Return the same application over another tree, such as what one principal may see; it costs little."""
        other = copy.copy(self)
        other._tree = tree
        return other

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
        if found.node.kind is Kind.FOLDER:
            return self._folder(environ, found, names)
        if path.slash:
            raise NotAFolder(names[-1])
        headers: Headers = [("Cache-Control", cache_control(self._tree, found.state))]
        pinned = self._pinned(found, names)
        if pinned:
            headers.append(("Content-Location", pinned))
        return file_reply(self._tree, found.node, names[-1], environ, self._media, headers, state=found.state)

    def _pinned(self, found: Found, names: tuple[bytes, ...]) -> str:
        """Return the path that names the state, for what was reached by a channel; else nothing."""
        state = found.state
        if state is None or self._tree.following(state) == state:
            return ""
        depth = found.floor  # names up to and with the tag, which stands at the end of them
        return self._prefix + quote_path((*names[: depth - 1], state_name(state), *names[depth:]))

    def _folder(self, environ: Environ, found: Found, names: tuple[bytes, ...]) -> Reply:
        query = _query(environ)
        if "archive" in query:
            return self._archive(environ, found, names, query["archive"])
        href, pinned = f"{self._prefix}{quote_path(names)}/", self._pinned(found, names)
        if best_of(header(environ, "Accept"), _FORMS) == _JSON:
            return self._json(environ, found, names, href, pinned)
        crumbs = [("datasets", f"{self._prefix}/")]
        crumbs += [(as_text(name), f"{self._prefix}{quote_path(names[: i + 1])}/") for i, name in enumerate(names)]
        tag = as_text(names[found.floor - 1]) if found.floor else ""
        shown = Shown(found.node, found.state, tag, href, f"{pinned}/" if pinned else "", crumbs)
        body = self._pages.render(self._tree, shown, page_of(self._tree, found.node, read_wish(query)))
        # The page's form is this gateway's, which may be replaced: a browser asks again, whatever is shown.
        headers: Headers = [
            ("Cache-Control", cache_control(self._tree, found.state, keep=False)),
            ("Vary", "Accept"),
            ("Content-Security-Policy", self._pages.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        if pinned:
            asked = "&".join(f"{key}={value}" for key, value in query.items())
            headers.append(("Content-Location", f"{pinned}/{'?' if asked else ''}{asked}"))
        return _whole(environ, body, "text/html; charset=utf-8", headers)

    def _json(self, environ: Environ, found: Found, names: tuple[bytes, ...], href: str, pinned: str) -> Reply:
        first = self._tree.children(found.node, limit=JSON_PAGE)
        path = "/" + "/".join(as_text(name) for name in names)
        body = json_body(self._tree, found.node, href, path, first)
        headers: Headers = [
            ("Cache-Control", cache_control(self._tree, found.state)),
            ("Vary", "Accept"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if pinned:
            headers.append(("Content-Location", f"{pinned}/"))
        if first.eof:
            return _whole(environ, b"".join(body), _JSON, headers)
        if found.state is not None:
            place = found.node.place
            known = sha256(b"json 1 %s %d %s" % (place.manifest.hex().encode(), place.record, href.encode()))
            current = Validators(strong_etag(known.digest()), None)
            headers.append(("ETag", current.etag))
            _, refusal = check(environ, current, headers)
            if refusal is not None:
                return refusal
        return Reply(200, [*headers, ("Content-Type", _JSON)], body)

    def _archive(self, environ: Environ, found: Found, names: tuple[bytes, ...], wanted: str) -> Reply:
        folder, pinned = found.node, self._pinned(found, names)
        if wanted not in FORMATS:
            return text_reply(400, f"archive is one of {', '.join(FORMATS)}")
        if found.state is None:
            return text_reply(400, "archives are made of a version, a channel or a state, or a folder of one")
        current = archive.validators(folder, wanted)
        headers: Headers = [("ETag", current.etag), ("Cache-Control", cache_control(self._tree, found.state))]
        if pinned:
            headers.append(("Content-Location", f"{pinned}/?archive={wanted}"))
        _, refusal = check(environ, current, headers)
        if refusal is not None:
            return refusal
        length = self._archives.length(self._tree, folder, wanted)
        name = b"-".join(name.lstrip(b"@") for name in names) + b"." + wanted.encode()
        headers += [
            ("Content-Type", FORMATS[wanted].media_type),
            ("Content-Disposition", attachment(name)),
            ("Accept-Ranges", "none"),
            *SHIELD,
        ]
        if length is not None:
            headers.append(("Content-Length", str(length)))
        if environ["REQUEST_METHOD"] == "HEAD":
            return Reply(200, headers)
        body = self._archives.body(self._tree, folder, wanted)
        if body is None:
            busy = [("Retry-After", "30"), ("Cache-Control", "no-store")]
            return text_reply(503, "too many archives are being sent; try again soon", busy)
        return Reply(200, headers, body)


def _whole(environ: Environ, body: bytes, media_type: str, headers: Headers) -> Reply:
    """Answer with a body that is at hand, or that the client has it already."""
    current = Validators(strong_etag(sha256(body).digest()), None)
    headers = [("ETag", current.etag), *headers]
    _, refusal = check(environ, current, headers)
    if refusal is not None:
        return refusal
    return Reply(200, [*headers, ("Content-Type", media_type), ("Content-Length", str(len(body)))], (body,))


def _query(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return what a query says of the parameters that folders know; the first counts of those that come twice."""
    found: dict[str, str] = {}
    for pair in itertools.islice(str(environ.get("QUERY_STRING", "")).split("&"), _PARAMETERS):
        key, _, value = pair.partition("=")
        if key in ("after", "archive", "order", "sort"):
            found.setdefault(key, value)
    return found
