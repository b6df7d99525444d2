"""What was pushed is what every way shows, names, sizes and bytes alike: the seam, WebDAV, plain HTTP and NFS.

One case, run for each way over a real store in a folder and in memory. A way walks by its own links, cookies or
handles alone.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest

from dav.reply import WsgiApp
from gateway.web.app import make_wsgi_app
from nfs.wire import nfs3
from nfs.wire.nfs3types import FATTR3, fattr3, ftype3
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.vfs.tree import FileTree, Kind, Node
from tests.conformance.tree_cases import SAMPLE, joined, whole
from tests.support.nfs_client import NfsClient, ok, serving
from tests.support.staging import StoreStage
from tests.support.trees import Contents, File, Link, resolve
from tests.unit.dav.calls import call

PLACE = "@geo/maps/1.0.0"
EDGE = 256 << 10
CONTENTS: Contents = {
    **SAMPLE,
    b"one byte": b"1",
    b"one chunk": random.Random(1).randbytes(EDGE),
    b"one byte more": random.Random(2).randbytes(EDGE + 1),
    b"holes": b"begin" + bytes(3 << 20) + b"middle" + bytes(EDGE) + b"end",
    b"large": random.Random(3).randbytes(5 << 20),
    b"many": {b"entry %04d" % n: b"" for n in range(1500)},
}


class Leaf(NamedTuple):
    """A file or a link as a way shows it."""

    size: int
    data: bytes  # of a file; a link's target
    link: bool = False


Seen = dict[tuple[bytes, ...], Leaf | None]  # None: a folder
Walk = Callable[[FileTree], Seen]


def published(contents: Contents, path: tuple[bytes, ...] = ()) -> Seen:
    """Return what a way must show."""
    seen: Seen = {}
    for name, value in contents.items():
        inside = (*path, name)
        if isinstance(value, Mapping):
            seen[inside] = None
            seen |= published(value, inside)
        elif isinstance(value, Link):
            seen[inside] = Leaf(len(value.target), value.target, link=True)
        else:
            data = value.data if isinstance(value, File) else value
            seen[inside] = Leaf(len(data), data)
    return seen


def through_the_seam(tree: FileTree) -> Seen:
    seen: Seen = {}
    waiting: list[tuple[tuple[bytes, ...], Node]] = [((), resolve(tree, PLACE))]
    while waiting:
        path, folder = waiting.pop()
        for entry in whole(tree, folder, page=100).entries:
            inside = (*path, entry.name)
            if entry.node.kind is Kind.FOLDER:
                seen[inside] = None
                waiting.append((inside, entry.node))
            elif entry.node.kind is Kind.LINK:
                seen[inside] = Leaf(entry.node.size, tree.readlink(entry.node), link=True)
            else:
                seen[inside] = Leaf(entry.node.size, joined(tree, entry.node))
    return seen


def over_webdav(tree: FileTree) -> Seen:
    app = make_wsgi_app(tree)
    seen: Seen = {}
    waiting = [f"/webdav/{PLACE}/"]
    while waiting:
        answer = call(app, "PROPFIND", waiting.pop(), {"Depth": "1"})
        for response in list(ElementTree.fromstring(answer.body).iter("{DAV:}response"))[1:]:
            href = response.findtext("{DAV:}href") or ""
            path = split(href)
            if response.find(".//{DAV:}collection") is not None:
                seen[path] = None
                waiting.append(href)
            else:
                seen[path] = fetched(app, href)
                assert response.findtext(".//{DAV:}getcontentlength") == answer_size(seen[path])
    return seen


def over_http(tree: FileTree) -> Seen:
    app = make_wsgi_app(tree)
    seen: Seen = {}
    waiting = [f"/fs/{PLACE}/"]
    while waiting:
        for entry in listed(app, waiting.pop()):
            path = split(entry["href"])
            if entry["kind"] == "folder":
                seen[path] = None
                waiting.append(entry["href"])
            elif entry["kind"] == "file":
                seen[path] = fetched(app, entry["href"])
                assert str(entry["size"]) == answer_size(seen[path])
    return seen


def listed(app: WsgiApp, href: str) -> Iterator[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads(call(app, "GET", href, {"Accept": "application/json"}).body)["entries"]
    return iter(entries)


def split(href: str) -> tuple[bytes, ...]:
    """Return the names of a link below the state."""
    return tuple(unquote_to_bytes(part) for part in href.strip("/").split("/")[4:])


def fetched(app: WsgiApp, href: str) -> Leaf:
    answer = call(app, "GET", href)
    assert answer.status == 200
    return Leaf(int(answer.headers["content-length"]), answer.body)


def answer_size(leaf: Leaf | None) -> str | None:
    return None if leaf is None else str(leaf.size)


def over_nfs(tree: FileTree) -> Seen:
    seen: Seen = {}
    with serving(tree) as (_, port), NfsClient(port) as client:
        waiting: list[tuple[tuple[bytes, ...], bytes]] = [((), client.handle(PLACE))]
        while waiting:
            path, folder = waiting.pop()
            for entry in entries_of(client, folder):
                inside = (*path, entry.name)
                handle = entry.name_handle
                assert handle is not None
                about = fattr3(*FATTR3.unpack(entry.name_attributes or b""))
                if about.type == ftype3.NF3DIR:
                    seen[inside] = None
                    waiting.append((inside, handle))
                elif about.type == ftype3.NF3LNK:
                    target = ok(client.call("READLINK", nfs3.READLINK3args(handle))).data
                    seen[inside] = Leaf(about.size, bytes(target), link=True)
                else:
                    seen[inside] = Leaf(about.size, whole_file(client, handle))
    return seen


def entries_of(client: NfsClient, folder: bytes) -> list[nfs3.entryplus3]:
    found: list[nfs3.entryplus3] = []
    cookie, verifier = 0, bytes(8)
    while True:
        page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(folder, cookie, verifier, 4096, 16_384)))
        found += [entry for entry in page.entries if entry.name not in (b".", b"..")]
        if page.eof:
            return found
        cookie, verifier = page.entries[-1].cookie, page.cookieverf


def whole_file(client: NfsClient, handle: bytes) -> bytes:
    parts: list[bytes] = []
    eof = False
    while not eof:
        data, eof = client.read(handle, sum(map(len, parts)), 100_000)
        assert data or eof
        parts.append(data)
    return b"".join(parts)


@pytest.fixture(scope="module", params=["memory", "folder"])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileTree]:
    work: Path = tmp_path_factory.mktemp("ways")
    objects: ObjectStore = MemoryStore()
    if request.param == "folder":
        objects = FolderStore(work / "store", create=True)
    with StoreStage(objects, work) as stage:
        stage.publish("@geo/maps", "1.0.0", CONTENTS)
        yield stage.tree


def as_published(wanted: Seen) -> Seen:
    return wanted


def with_links_followed(wanted: Seen) -> Seen:
    return {**wanted, (b"link",): wanted[(b"a.txt",)]}


def without_links(wanted: Seen) -> Seen:
    return {path: leaf for path, leaf in wanted.items() if leaf is None or not leaf.link}


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        pytest.param(through_the_seam, as_published, id="seam"),
        pytest.param(over_nfs, as_published, id="nfs"),
        pytest.param(over_webdav, with_links_followed, id="webdav"),
        pytest.param(over_http, without_links, id="http"),
    ],
)
def test_every_way_shows_what_was_pushed(tree: FileTree, way: Walk, shown: Callable[[Seen], Seen]) -> None:
    wanted = shown(published(CONTENTS))
    seen = way(tree)
    assert sorted(seen) == sorted(wanted)
    assert [path for path in wanted if seen[path] != wanted[path]] == []
