"""Archives of a folder, read back by the standard library's readers."""

import bisect
import io
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterable
from hashlib import sha256

import pytest

from dav.reply import Buffer, WsgiApp
from gateway.web import archive, members, zipformat
from gateway.web.app import make_wsgi_app
from store.errors import ObjectCorrupt, StoreUnavailable
from store.vfs.tree import NO_VERIFIER, Entry, Kind, Listing, Node
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.trees import Contents, File, Link, MemoryTree
from tests.unit.dav.calls import Answer, call, environ_for, traced

LARGE = bytes(range(256)) * (5 * 4096 + 17)  # over what a zip archive holds as it is, and no multiple of anything
MIXED: Contents = {**SAMPLE, b"large": LARGE, b"deep": {b"er": {b"x" * 200: {b"leaf": Link(b"../" * 40)}}}}
FORMATS = ("tar", "zip")


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", MIXED)
    tree.publish("geo", "latest", MIXED)
    return tree


@pytest.fixture
def app(tree: MemoryTree) -> WsgiApp:
    return make_wsgi_app(tree)


def flat(contents: Contents, above: bytes = b"") -> dict[bytes, File | Link | None]:
    """Return what a folder holds by path; `None` for folders."""
    found: dict[bytes, File | Link | None] = {}
    for name, value in contents.items():
        path = above + name
        if isinstance(value, bytes):
            found[path] = File(value)
        elif isinstance(value, File | Link):
            found[path] = value
        else:
            found[path] = None
            found |= flat(value, path + b"/")
    return found


def get(app: WsgiApp, form: str, folder: str = "/fs/geo/1.0.0/", **headers: str) -> Answer:
    return call(app, "GET", f"{folder}?archive={form}", {k.replace("_", "-"): v for k, v in headers.items()})


def begin(app: WsgiApp, form: str) -> Iterable[Buffer]:
    """Ask for an archive and read nothing of it."""
    return app(environ_for("GET", f"/fs/geo/1.0.0/?archive={form}", {}, b""), lambda _status, _headers: None)


def tar_names(answer: Answer) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:") as opened:
        return opened.getnames()


def test_a_tar_archive_holds_everything_as_it_was(app: WsgiApp) -> None:
    answer = get(app, "tar")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["content-disposition"] == 'attachment; filename="geo-1.0.0.tar"'
    expected = flat(MIXED)
    with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:") as opened:
        members = {m.name.encode("utf-8", "surrogateescape"): m for m in opened.getmembers()}
        assert members.keys() == expected.keys()
        for path, wanted in expected.items():
            member = members[path]
            if wanted is None:
                assert member.isdir()
                assert member.mode == 0o755
            elif isinstance(wanted, Link):
                assert member.issym()
                assert member.linkname.encode("utf-8", "surrogateescape") == wanted.target
            else:
                content = opened.extractfile(member)
                assert content is not None
                assert content.read() == wanted.data
                assert member.mode == (0o755 if wanted.executable else 0o644)
                assert member.mtime == pytest.approx(wanted.mtime_ns / 1e9, abs=1e-6)


def test_a_zip_archive_holds_everything_to_the_second(app: WsgiApp) -> None:
    answer = get(app, "zip")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["content-type"] == "application/zip"
    expected = flat(MIXED)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as opened:
        members = {_raw(info): info for info in opened.infolist()}
        assert {path.rstrip(b"/") for path in members} == expected.keys()
        for path, info in members.items():
            wanted = expected[path.rstrip(b"/")]
            mode = info.external_attr >> 16
            if wanted is None:
                assert info.is_dir()
                assert stat.S_ISDIR(mode)
            elif isinstance(wanted, Link):
                assert stat.S_ISLNK(mode)
                assert opened.read(info) == wanted.target
            else:
                assert opened.read(info) == wanted.data
                assert mode == (0o100755 if wanted.executable else 0o100644)
                assert info.extra.endswith((wanted.mtime_ns // 10**9).to_bytes(4, "little", signed=True))


def _raw(info: zipfile.ZipInfo) -> bytes:
    return info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


@pytest.mark.parametrize("form", FORMATS)
def test_bytes_and_etag_are_of_the_content_and_not_of_how_it_was_reached(app: WsgiApp, form: str) -> None:
    fixed, moving = get(app, form), get(app, form, "/fs/geo/latest")
    assert fixed.body == moving.body
    assert fixed.headers["etag"] == moving.headers["etag"]
    assert fixed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert moving.headers["cache-control"] == "no-cache"
    pinned = call(app, "GET", moving.headers["content-location"])
    assert (pinned.body, pinned.headers["etag"]) == (fixed.body, fixed.headers["etag"])
    other = {
        get(app, f, folder).headers["etag"] for f in FORMATS for folder in ("/fs/geo/1.0.0/", "/fs/geo/1.0.0/sub/")
    }
    assert len(other) == 4


@pytest.mark.parametrize("form", FORMATS)
def test_head_and_conditions_read_no_file(app: WsgiApp, tree: MemoryTree, form: str) -> None:
    whole = get(app, form)
    tree.blocking_calls.clear()
    head = call(app, "HEAD", f"/fs/geo/1.0.0/?archive={form}")
    assert head == whole._replace(body=b"")
    unchanged = get(app, form, If_None_Match=whole.headers["etag"])
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert get(app, form, If_Match='"other"').status == 412
    assert tree.blocking_calls["read"] == 0
    # A folder's time says nothing of an archive, and parts of one are not given.
    assert get(app, form, If_Modified_Since="Sun, 01 Jan 2100 00:00:00 GMT").status == 200
    assert get(app, form, Range="bytes=0-3").status == 200


def test_a_folder_below_is_archived_by_paths_relative_to_it(app: WsgiApp) -> None:
    answer = get(app, "tar", "/fs/geo/1.0.0/sub")
    assert tar_names(answer) == ["deep", "deep/leaf", "empty"]
    assert answer.headers["content-disposition"] == 'attachment; filename="geo-1.0.0-sub.tar"'


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_folder_is_an_empty_archive(app: WsgiApp, form: str) -> None:
    answer = get(app, form, "/fs/geo/1.0.0/sub/empty")
    if form == "tar":
        assert tar_names(answer) == []
    else:
        with zipfile.ZipFile(io.BytesIO(answer.body)) as opened:
            assert opened.namelist() == []


@pytest.mark.parametrize("target", ["/fs/?archive=tar", "/fs/geo/?archive=tar", "/fs/geo/1.0.0/?archive=rar"])
def test_what_is_no_archive_is_400(app: WsgiApp, target: str) -> None:
    assert call(app, "GET", target).status == 400


@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_of_many_members_comes_without_its_length(
    tree: MemoryTree, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = get(make_wsgi_app(tree), form).body
    monkeypatch.setattr(archive, "COUNTED", 3)
    answer = get(make_wsgi_app(tree), form)
    assert "content-length" not in answer.headers
    assert answer.body == whole


@pytest.mark.parametrize("form", FORMATS)
def test_a_store_that_fails_half_way_breaks_the_archive_off(app: WsgiApp, tree: MemoryTree, form: str) -> None:
    reads = 0

    def fail(operation: str) -> None:
        nonlocal reads
        reads += operation == "read"
        if reads == 3:
            raise StoreUnavailable("s3://bucket", "no route")

    tree.on_blocking = fail
    pieces: list[Buffer] = []
    with pytest.raises(StoreUnavailable):
        pieces.extend(begin(app, form))  # what came before the error stays in the list
    got = b"".join(pieces)
    assert got
    tree.on_blocking = lambda _operation: None
    whole = get(app, form).body
    assert whole.startswith(got)
    assert not got.endswith(bytes(1024))  # the end of a tar archive
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(got))


def test_a_store_that_fails_at_once_is_an_error(app: WsgiApp, tree: MemoryTree) -> None:
    def fail(operation: str) -> None:
        if operation == "read":
            raise StoreUnavailable("s3://bucket", "no route")

    tree.on_blocking = fail
    assert get(app, "tar", "/fs/geo/1.0.0/names").status == 503


def test_only_so_many_archives_are_sent_at_once(app: WsgiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [begin(app, "tar") for _ in range(archive.RUNNING)]
    refused = get(app, "tar")
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert call(app, "HEAD", "/fs/geo/1.0.0/?archive=tar").status == 200
    for body in bodies:
        body.close()  # type: ignore[attr-defined]  # as a server does (PEP 3333)
    bodies[0].close()  # type: ignore[attr-defined]  # twice is once
    assert get(app, "tar").status == 200


class Endless(MemoryTree):
    """A state of `files` files of `size` bytes each, all of them the same bytes: no test has the room for others."""

    def __init__(self, files: int, size: int) -> None:
        super().__init__()
        self.publish("geo", "1.0.0", {b"f": bytes(1)})
        self.files, self.size, self.chunk = files, size, memoryview(b"\xa5" * (256 << 10))

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        if folder.place.record or folder.place.manifest == bytes(16):
            return super().children(folder, after=after, limit=limit, verifier=verifier)
        node = super().children(folder).entries[0].node._replace(size=self.size)
        stop = min(self.files, after + limit)
        return Listing([Entry(i + 1, b"%09d" % i, node) for i in range(after, stop)], stop == self.files, NO_VERIFIER)

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        whole, rest = divmod(size, len(self.chunk))
        return [self.chunk] * whole + [self.chunk[:rest]] * bool(rest)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("files", "size"), [(1, 3 << 30), (10_000, 100), (40, 20 << 20)])
def test_memory_stays_flat_whatever_is_archived(form: str, files: int, size: int) -> None:
    app = make_wsgi_app(Endless(files, size))
    body = iter(begin(app, form))
    sent = len(next(body))
    more, peak = traced(body)
    sent += more
    assert sent > files * size
    assert peak < 8 << 20


class Tall(MemoryTree):
    """Folders in folders without end, each of a thousand."""

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        entries = [Entry(i + 1, b"%d" % i, folder) for i in range(after, min(1000, after + limit))]
        return Listing(entries, after + limit >= 1000, NO_VERIFIER)


def test_a_tree_without_a_bottom_is_refused_in_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_PATH", 8192)
    tree = Tall()
    tree.publish("geo", "1.0.0", {b"sub": {}})
    folder = tree.lookup(tree.lookup(tree.lookup(tree.root(), b"geo"), b"1.0.0"), b"sub")
    tracemalloc.start()
    with pytest.raises(ObjectCorrupt):
        for _ in archive.FORMATS["tar"].pieces(tree, folder):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20  # 4,096 levels, 16 entries each


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"/etc", b"a\0b", b"..\\..\\x", b"x\\.."])
@pytest.mark.parametrize("form", FORMATS)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: bytes, form: str) -> None:
    class Hostile(MemoryTree):
        def children(
            self,
            folder: Node,
            *,
            after: int = 0,
            limit: int = 1024,
            verifier: bytes = NO_VERIFIER,
            passing: bool = False,
        ) -> Listing:
            listing = super().children(folder, after=after, limit=limit, verifier=verifier)
            return listing._replace(entries=[entry._replace(name=name) for entry in listing.entries])

    tree = Hostile()
    tree.publish("geo", "1.0.0", {b"x": b"x"})
    assert get(make_wsgi_app(tree), form).status == 500


def test_names_that_only_look_hostile_are_kept() -> None:
    tree = MemoryTree()
    names = {b"...": b"1", b"..x": b"2", b"x..": b"3", b"a\\b": b"4", b"-rf": b"5", b"C:": b"6"}
    tree.publish("geo", "1.0.0", names)
    assert {name.encode() for name in tar_names(get(make_wsgi_app(tree), "tar"))} == set(names)


@pytest.mark.slow
def test_a_zip_archive_of_more_than_4_gib_and_65535_members_is_zip64() -> None:
    """Read by the standard library out of a file of holes: what lies between headers is not kept."""
    tree = Endless(70_000, 65_536)
    folder = tree.lookup(tree.lookup(tree.root(), b"geo"), b"1.0.0")
    kept = Sparse()
    for piece in archive.FORMATS["zip"].pieces(tree, folder):
        kept.append(bytes(piece) if len(piece) != 65_536 else None, len(piece))
    assert kept.size > 1 << 32
    with zipfile.ZipFile(kept) as opened:
        infos = opened.infolist()
        assert len(infos) == 70_000
        assert infos[-1].header_offset > 1 << 32
        assert opened.read(infos[-1]) == b"\xa5" * 65_536


@pytest.mark.parametrize("size", [(1 << 32) - 1, (1 << 32) + 77, 1 << 40])
def test_headers_of_members_of_more_than_4_gib_have_zip64_sizes(size: int) -> None:
    member = zipformat.Described(b"big", Kind.FILE, size, 0, False)
    entry = zipformat.central(member, 7, 1 << 33)
    head = Sparse()
    head.append(entry + zipformat.end(1, 0, len(entry)), len(entry) + len(zipformat.end(1, 0, len(entry))))
    (info,) = zipfile.ZipFile(head).infolist()
    assert (info.file_size, info.compress_size, info.header_offset) == (size, member.packed, 1 << 33)
    assert len(zipformat.descriptor(member, 7)) == 24


class Sparse(io.RawIOBase):
    """An archive as a file of which contents are not kept but known."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.pieces: list[bytes | None] = []
        self.size = self.at = 0

    def append(self, piece: bytes | None, size: int) -> None:
        self.starts.append(self.size)
        self.pieces.append(piece)
        self.size += size

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        size = self.size - self.at if size < 0 else min(size, self.size - self.at)
        out = bytearray()
        index = bisect.bisect_right(self.starts, self.at) - 1
        while len(out) < size:
            piece = self.pieces[index]
            inside = self.at + len(out) - self.starts[index]
            out += (b"\xa5" * 65_536 if piece is None else piece)[inside : inside + size - len(out)]
            index += 1
        self.at += size
        return bytes(out)


def test_the_digest_of_an_archive_is_known() -> None:
    """What is kept for ever must not change unnoticed: who changes these bytes changes `archive._FORM`, too."""
    tree = MemoryTree()
    tree.publish(
        "geo", "1.0.0", {b"a": b"a", "é".encode(): File(b"x", True, -1), b"l": Link(b"a"), b"d": {b"big": BIG}}
    )
    app = make_wsgi_app(tree)
    found = {form: sha256(get(app, form).body).hexdigest() for form in FORMATS}
    assert found == {
        "tar": "d25b8655e583c24907d6b7f18f63269564335ead6047f2e44b1387dfa883e668",
        "zip": "c17b1c3dfd5ea5ff559a9a89230b39c487d85b65c07017c351bcfdd8c63a0e40",
    }
