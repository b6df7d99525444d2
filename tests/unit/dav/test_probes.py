"""What systems ask for in every folder is told from memory, and is found where somebody pushed it."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dav.probes import KEPT_S, Probes, is_probe
from dav.reply import WsgiApp
from dav.resolve import resolve
from gateway.web.app import make_wsgi_app
from store.errors import PathMissing
from store.objects.memory import MemoryStore
from tests.support.staging import Clock, StoreStage
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call
from tests.unit.store.vfs.test_frugal import Watched

FINDER = {"User-Agent": "WebDAVFS/3.0.0 (03008000) Darwin/22.1.0 (arm64)", "Depth": "0"}
ASKED = [
    ".DS_Store",
    "._file",
    "._caf%C3%A9",
    ".localized",
    ".hidden",
    ".Spotlight-V100",
    ".Spotlight-V100/Store-V2",
    ".metadata_never_index_unless_rootfs",
    ".ql_disablecache",
    "desktop.ini",
    "Desktop.ini",
    "folder.jpg",
    "folder.gif",
    "Thumbs.db",
    "AutoRun.inf",
    ".directory",
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[StoreStage, Watched]]:
    watched = Watched(MemoryStore())
    with StoreStage(watched, tmp_path) as stage:
        yield stage, watched


def status(app: WsgiApp, path: str, method: str = "PROPFIND", headers: dict[str, str] | None = None) -> int:
    return call(app, method, f"/webdav/{path}", {"Depth": "0", **(headers or {})}).status


@pytest.mark.parametrize("name", ASKED)
def test_each_is_known_as_such(name: str) -> None:
    assert is_probe(name.partition("/")[0].encode())


@pytest.mark.parametrize("name", ["file", "_", ".", ".git", ".hiddenfile", "folder.jpeg", "mydesktop.ini", "_.x"])
def test_names_that_people_give_are_not_among_them(name: str) -> None:
    assert not is_probe(name.encode())


@pytest.mark.parametrize("tag", ["1.0.0", "latest"])
def test_a_thousand_of_them_take_no_call_of_the_store(stage: tuple[StoreStage, Watched], tag: str) -> None:
    staged, watched = stage
    staged.publish("@geo/maps", tag, {b"d": {b"file %04d" % i: b"" for i in range(1000)}})
    app = make_wsgi_app(staged.tree)
    folder = f"@geo/maps/{tag}/d"
    assert call(app, "PROPFIND", f"/webdav/{folder}/", {"Depth": "1"}).status == 207
    assert status(app, f"{folder}/._first") == 404
    watched.asked.clear()
    for name in [*ASKED, *(f"._file%20{i:04}" for i in range(1000))]:
        assert status(app, f"{folder}/{name}") == 404
        assert status(app, f"{folder}/{name}", "GET") == 404
    assert watched.asked == []


def test_for_a_version_that_holds_however_much_time_passes(stage: tuple[StoreStage, Watched]) -> None:
    staged, watched = stage
    staged.publish("maps", "1.0.0", {b"d": {b"f": b""}})
    app = make_wsgi_app(staged.tree)
    assert status(app, "maps/1.0.0/d/._f") == 404
    watched.asked.clear()
    staged.clock.pass_freshness()
    assert status(app, "maps/1.0.0/d/._f") == 404
    assert status(app, "maps/1.0.0/d/desktop.ini") == 404
    assert watched.asked == []
    assert status(app, "maps/1.0.0/d/f") == 207
    assert watched.asked != []


def test_what_cannot_be_a_dataset_or_a_tag_is_not_looked_for() -> None:
    tree = MemoryTree()
    tree.publish("@geo/maps", "latest", {})
    app = make_wsgi_app(tree)
    tree.blocking_calls.clear()
    for folder in ("", "@geo/", "@geo/maps/", "maps/"):
        for name in (".DS_Store", "._latest", ".hidden", ".Trashes/501"):
            assert status(app, folder + name) == 404
    assert not tree.blocking_calls


def test_they_are_found_where_they_are() -> None:
    tree = MemoryTree()
    names = (b".DS_Store", b"._x", b"desktop.ini", b"Thumbs.db", b".metadata_never_index")
    tree.publish("geo", "1.0.0", {b"d": {**{name: name for name in names}, b".Trashes": {b"x": b"inside"}}})
    tree.publish("desktop.ini", "folder.jpg", {b"x": b"a dataset may be called so"})
    app = make_wsgi_app(tree)
    for _ in range(2):
        for name in names:
            target = f"/webdav/geo/1.0.0/d/{name.decode()}"
            assert call(app, "GET", target, FINDER).body == name
            assert call(app, "PROPFIND", target, FINDER).status == 207
        assert call(app, "GET", "/webdav/geo/1.0.0/d/.Trashes/x").body == b"inside"
        assert call(app, "GET", "/webdav/desktop.ini/folder.jpg/x").status == 200


def test_one_that_comes_with_a_channel_is_seen_a_little_later_than_others() -> None:
    tree, clock = MemoryTree(), Clock()
    tree.publish("geo", "latest", {b"x": b""})
    probes = Probes(tree, clock=clock)
    path = (b"geo", b"latest", b"folder.jpg")
    with pytest.raises(PathMissing):
        probes.resolve(path)
    tree.publish("geo", "latest", {b"folder.jpg": b"new"})
    with pytest.raises(PathMissing):
        probes.resolve(path)
    clock.now_s += KEPT_S
    assert probes.resolve(path) == resolve(tree, path)
    tree.publish("geo", "latest", {b"folder.jpg": b"newer"})
    assert probes.resolve(path) == resolve(tree, path)


def test_a_dataset_that_is_called_so_is_seen_a_little_later_than_others() -> None:
    tree, clock = MemoryTree(), Clock()
    probes = Probes(tree, clock=clock)
    for _ in range(3):
        with pytest.raises(PathMissing):
            probes.resolve((b"desktop.ini",))
    assert tree.blocking_calls["lookup"] == 1
    tree.publish("desktop.ini", "latest", {})
    clock.now_s += KEPT_S
    assert probes.resolve((b"desktop.ini",)).node.changing


def test_finder_finds_two_empty_files_that_keep_it_from_reading_everything() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"f": b"x", b"d": {}})
    app = make_wsgi_app(tree)
    for folder in ("", "geo/", "geo/1.0.0/", "geo/1.0.0/d/"):
        for name in (".metadata_never_index", ".ql_disablethumbnails"):
            target = f"/webdav/{folder}{name}"
            answer = call(app, "PROPFIND", target, FINDER)
            properties = ElementTree.fromstring(answer.body)
            assert properties.findtext("{DAV:}response/{DAV:}href") == target
            assert properties.findtext(".//{DAV:}getcontentlength") == "0"
            for method in ("GET", "HEAD"):
                got = call(app, method, target, FINDER)
                assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")
                assert got.headers["etag"] == properties.findtext(".//{DAV:}getetag")
                assert got.headers["content-type"] == properties.findtext(".//{DAV:}getcontenttype")
                assert got.headers["cache-control"].startswith("private")  # the next line says why
                known = {**FINDER, "If-None-Match": got.headers["etag"]}
                assert call(app, method, target, known).status == 304
            assert status(app, f"{folder}{name}") == 404  # for everybody else, nothing was pushed
            assert call(app, "PROPFIND", f"/webdav/{folder}", {**FINDER, "Depth": "1"}).body.count(b"never_index") == 0
    for folder in ("nope/", "geo/nope/", "geo/1.0.0/f/"):
        assert call(app, "PROPFIND", f"/webdav/{folder}.metadata_never_index", FINDER).status == 404
    assert call(app, "GET", "/webdav/.metadata_never_index", FINDER).headers["etag"] == f'"{sha256().hexdigest()}"'


def test_a_name_that_holds_a_probe_decomposed_is_found() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {"._caf\u00e9".encode(): b"composed"})
    app = make_wsgi_app(tree)
    assert call(app, "GET", "/webdav/geo/1.0.0/._cafe%CC%81", FINDER).body == b"composed"


def test_what_is_not_there_is_told_in_the_same_words_each_time(tmp_path: Path) -> None:
    with StoreStage(MemoryStore(), tmp_path) as stage:
        stage.publish("@geo/roads", "1.0.0", {b"x": b""})
        app = make_wsgi_app(stage.tree)
        for target in ("/webdav/desktop.ini", "/webdav/@geo/desktop.ini/x", "/webdav/@geo/roads/1.0.0/._x"):
            assert len({call(app, "GET", target).body for _ in range(3)}) == 1
