"""Plain HTTP and WebDAV, walked by their own links alone, show the same tree as the seam does."""

import json
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest

from dav.reply import WsgiApp
from gateway.web.app import make_wsgi_app
from store.vfs.tree import FileTree, Kind, Node
from tests.conformance.tree_cases import SAMPLE, whole
from tests.support.trees import MemoryTree, resolve
from tests.unit.dav.calls import call

Seen = dict[tuple[bytes, ...], tuple[int, bytes] | None]  # path -> size and digest of a file, None for a folder


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("@scope/roads", "latest", SAMPLE)
    return tree


def through_the_seam(
    tree: FileTree, node: Node, path: tuple[bytes, ...] = ()
) -> Iterator[tuple[tuple[bytes, ...], Node]]:
    for entry in whole(tree, node).entries:
        inside = (*path, entry.name)
        yield inside, entry.node
        if entry.node.kind is Kind.FOLDER:
            yield from through_the_seam(tree, entry.node, inside)


def expected(tree: FileTree, state: str) -> Seen:
    seen: Seen = {}
    for path, node in through_the_seam(tree, resolve(tree, state)):
        if node.kind is Kind.FILE:
            content = b"".join(tree.read(node, 0, node.size))
            seen[path] = (node.size, sha256(content).digest())
        elif node.kind is Kind.FOLDER:
            seen[path] = None
    return seen


def fetched(app: WsgiApp, href: str) -> tuple[int, bytes]:
    answer = call(app, "GET", href)
    assert answer.status == 200
    return int(answer.headers["content-length"]), sha256(answer.body).digest()


def over_http(app: WsgiApp, href: str, top: int) -> Seen:
    seen: Seen = {}
    for entry in json.loads(call(app, "GET", href, {"Accept": "application/json"}).body)["entries"]:
        path = tuple(unquote_to_bytes(part) for part in entry["href"].strip("/").split("/")[top:])
        if entry["kind"] == "folder":
            seen[path] = None
            seen |= over_http(app, entry["href"], top)
        elif entry["kind"] == "file":
            seen[path] = fetched(app, entry["href"])
            assert seen[path] == (entry["size"], bytes.fromhex(entry["sha256"]))
    return seen


def over_webdav(app: WsgiApp, href: str, top: int) -> Seen:
    seen: Seen = {}
    answer = call(app, "PROPFIND", href, {"Depth": "1"})
    own, *inside = ElementTree.fromstring(answer.body).iter("{DAV:}response")
    assert own.findtext("{DAV:}href") == href
    for response in inside:
        below = response.findtext("{DAV:}href") or ""
        path = tuple(unquote_to_bytes(part) for part in below.strip("/").split("/")[top:])
        if response.find(".//{DAV:}collection") is not None:
            seen[path] = None
            seen |= over_webdav(app, below, top)
        else:
            seen[path] = fetched(app, below)
            assert response.findtext(".//{DAV:}getcontentlength") == str((seen[path] or (0,))[0])
    return seen


@pytest.mark.parametrize("state", ["geo/1.0.0", "@scope/roads/latest"])
def test_plain_http_shows_the_same_names_sizes_and_bytes(tree: MemoryTree, state: str) -> None:
    top = 1 + len(state.split("/"))
    assert over_http(make_wsgi_app(tree), f"/fs/{state}/", top) == expected(tree, state)


@pytest.mark.parametrize("state", ["geo/1.0.0", "@scope/roads/latest"])
def test_webdav_shows_the_same_names_sizes_and_bytes_and_links_to_files_as_files(tree: MemoryTree, state: str) -> None:
    seen = over_webdav(make_wsgi_app(tree), f"/webdav/{state}/", 1 + len(state.split("/")))
    assert seen.pop((b"link",)) == seen[(b"a.txt",)]
    assert seen == expected(tree, state)
