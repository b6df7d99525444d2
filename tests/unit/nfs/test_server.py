"""The server over a real loopback socket, asked by the project's own small client."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nfs.server import Limits, host_of
from nfs.wire import nfs3
from nfs.wire import nfs3types as t
from nfs.wire.mount3 import mountbody, mountstat3
from nfs.wire.record import LAST_FRAGMENT, marked
from nfs.wire.rpc import encode_call
from nfs.wire.xdr import Choice, encode_whole
from store.errors import BlockCorrupt, StoreError, StoreUnavailable
from store.vfs.tree import Listing, Node
from tests.conformance.tree_cases import BIG, HARD_NAMES, SAMPLE
from tests.support.nfs_client import TIMEOUT_S, USER, NfsClient, ok, serving
from tests.support.trees import Link, MemoryTree, resolve

S = t.nfsstat3


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree(chunk_size=1000)
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("maps", "latest", SAMPLE)
    tree.publish("@geo/roads", "1.0.0", {f"{i:04}".encode() * (1 + i % 20): b"" for i in range(1500)})
    return tree


@pytest.fixture
def port(tree: MemoryTree) -> Iterator[int]:
    with serving(tree) as (_, port):
        yield port


@pytest.fixture
def client(port: int) -> Iterator[NfsClient]:
    with NfsClient(port) as client:
        yield client


def listed(client: NfsClient, fh: bytes, count: int, *, plus: bool) -> tuple[list[bytes], int]:
    """List a folder as a client does; return all names and the number of replies."""
    names: list[bytes] = []
    cookie, verifier, replies = 0, bytes(8), 0
    while True:
        if plus:
            page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, cookie, verifier, count, count)))
            size = len(encode_whole(nfs3.READDIRPLUS3[1], t.Result(S.NFS3_OK, page))) - 4
        else:
            page = ok(client.call("READDIR", nfs3.READDIR3args(fh, cookie, verifier, count)))
            size = len(encode_whole(nfs3.READDIR3[1], t.Result(S.NFS3_OK, page))) - 4
        assert size <= count
        replies += 1
        names += [entry.name for entry in page.entries]
        if page.eof:
            return names, replies
        assert page.entries
        cookie, verifier = page.entries[-1].cookie, page.cookieverf


# Mounting


@pytest.mark.parametrize(
    "path", ["/", "", "/maps", "//maps/", "/maps/1.0.0", "/maps/1.0.0/sub/deep", "/@geo", "/@geo/roads/1.0.0"]
)
def test_folders_at_every_depth_mount(client: NfsClient, tree: MemoryTree, path: str) -> None:
    reply = client.mount("MNT", path.encode())
    assert reply.fhs_status is mountstat3.MNT3_OK
    assert list(reply.mountinfo.auth_flavors) == [1, 0]
    assert client.attributes(reply.mountinfo.fhandle).fileid == resolve(tree, path).fileid


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", mountstat3.MNT3ERR_NOENT),
        ("/maps/..", mountstat3.MNT3ERR_NOENT),
        ("/maps/1.0.0/a.txt", mountstat3.MNT3ERR_NOTDIR),
        ("/maps/1.0.0/link", mountstat3.MNT3ERR_NOTDIR),
        ("/maps/" + "n" * 255, mountstat3.MNT3ERR_NOENT),
        ("/maps/" + "n" * 256, mountstat3.MNT3ERR_NAMETOOLONG),
    ],
)
def test_what_is_no_folder_does_not_mount(client: NfsClient, path: str, status: mountstat3) -> None:
    assert client.mount("MNT", path.encode()).fhs_status is status


def test_a_mounted_channel_shows_the_state_of_the_moment(client: NfsClient, tree: MemoryTree) -> None:
    root = client.mount("MNT", b"/maps/latest").mountinfo.fhandle
    before = client.attributes(root)
    tree.publish("maps", "latest", {b"new": b"moved"})
    after = client.attributes(root)
    assert (after.fileid, after.mtime_s > before.mtime_s) == (before.fileid, True)
    assert listed(client, root, 4096, plus=True)[0] == [b".", b"..", b"new"]


def test_a_looked_up_channel_keeps_its_state(client: NfsClient, tree: MemoryTree) -> None:
    bound = client.handle("maps/latest")
    client.attributes(bound)
    tree.publish("maps", "latest", {b"new": b"moved"})
    file = ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(bound, b"a.txt")))).object
    assert client.read(file, 0, 100) == (b"hello\n", True)


def test_exports_are_the_root_and_the_datasets(client: NfsClient) -> None:
    assert [e.ex_dir for e in client.mount("EXPORT")] == [b"/", *sorted([b"/@geo/roads", b"/maps"], reverse=True)]


def test_dump_lists_mounts_until_they_are_undone(client: NfsClient) -> None:
    client.mount("MNT", b"/maps")
    client.mount("MNT", b"/")
    client.mount("UMNT", b"/maps")
    assert client.mount("DUMP") == [mountbody(b"127.0.0.1", b"/")]
    client.mount("UMNTALL")
    assert client.mount("DUMP") == []


# Attributes and names


def test_attributes_are_those_published_and_nothing_is_writable(client: NfsClient, tree: MemoryTree) -> None:
    folder = client.attributes(client.handle("maps/1.0.0"))
    assert (folder.type, folder.mode, folder.nlink, folder.fsid) == (t.ftype3.NF3DIR, 0o555, 1, tree.fsid)
    assert folder.size >= 4096
    script = client.attributes(client.handle("maps/1.0.0/run.sh"))
    assert (script.type, script.mode, script.size, script.used) == (t.ftype3.NF3REG, 0o555, 10, 512)
    assert (script.mtime_s, script.mtime_ns) == (1_234_567_890, 123_456_789)
    link = client.attributes(client.handle("maps/1.0.0/link"))
    assert (link.type, link.mode, link.size) == (t.ftype3.NF3LNK, 0o777, 5)
    assert client.attributes(client.handle("maps/1.0.0/old")).mtime_s == 0


def test_hard_names_are_found_as_they_are(client: NfsClient) -> None:
    folder = client.handle("maps/1.0.0/names")
    for name in HARD_NAMES:
        found = ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(folder, name))))
        assert client.read(found.object, 0, 1000) == (name, True)


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("maps/1.0.0", b"nothing", S.NFS3ERR_NOENT),
        ("maps/1.0.0", b"", S.NFS3ERR_ACCES),
        ("maps/1.0.0", b"sub/deep", S.NFS3ERR_ACCES),
        ("maps/1.0.0", b"a.txt\0", S.NFS3ERR_ACCES),
        ("maps", b"", S.NFS3ERR_ACCES),
        ("maps/1.0.0", b"n" * 256, S.NFS3ERR_NAMETOOLONG),
        ("maps/1.0.0/a.txt", b"x", S.NFS3ERR_NOTDIR),
        ("maps", b"9.9.9", S.NFS3ERR_NOENT),
    ],
)
def test_absent_names_are_refused_with_the_folders_attributes(
    client: NfsClient, path: str, name: bytes, status: t.nfsstat3
) -> None:
    result = client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(client.handle(path), name)))
    assert result.status is status
    assert len(result.resfail) == t.FATTR3_BYTES


def test_dot_and_dotdot_lead_where_they_should(client: NfsClient) -> None:
    sub = client.handle("maps/1.0.0/sub")
    for name, path in ((b".", "maps/1.0.0/sub"), (b"..", "maps/1.0.0")):
        found = ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(sub, name)))).object
        assert found == client.handle(path)
    root = client.handle("")
    assert ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(root, b"..")))).object == root


def test_access_grants_reading_and_nothing_else(client: NfsClient) -> None:
    everything = 0x3F
    for path, granted in (("maps", 3), ("maps/1.0.0/a.txt", 1), ("maps/1.0.0/run.sh", 0x21), ("maps/1.0.0/link", 1)):
        assert ok(client.call("ACCESS", nfs3.ACCESS3args(client.handle(path), everything))).access == granted


def test_links_are_read_and_files_are_not_links(client: NfsClient) -> None:
    link, file = client.handle("maps/1.0.0/link"), client.handle("maps/1.0.0/a.txt")
    for _ in range(2):
        assert ok(client.call("READLINK", nfs3.READLINK3args(link))).data == b"a.txt"
    refused = client.call("READLINK", nfs3.READLINK3args(file))
    assert (refused.status, len(refused.resfail)) == (S.NFS3ERR_INVAL, t.FATTR3_BYTES)


def test_a_link_longer_than_any_path_is_refused_and_not_sent(client: NfsClient, tree: MemoryTree) -> None:
    tree.publish("links", "1.0.0", {b"longest": Link(b"t" * 4096), b"longer": Link(b"t" * 4097)})
    longest = nfs3.READLINK3args(client.handle("links/1.0.0/longest"))
    assert ok(client.call("READLINK", longest)).data == b"t" * 4096
    refused = client.call("READLINK", nfs3.READLINK3args(client.handle("links/1.0.0/longer")))
    assert (refused.status, len(refused.resfail)) == (S.NFS3ERR_NAMETOOLONG, t.FATTR3_BYTES)


def test_filesystem_wide_answers_are_honest(client: NfsClient) -> None:
    root = nfs3.FSROOT3args(client.handle("maps/1.0.0"))
    info = ok(client.call("FSINFO", root))
    assert (info.rtmax, info.wtmax, info.dtpref, info.properties) == (1 << 20, 1 << 16, 1 << 16, 0x0A)
    assert ok(client.call("PATHCONF", root)).name_max == 255
    stat = ok(client.call("FSSTAT", root))
    assert stat.tbytes > len(BIG)
    assert (stat.fbytes, stat.abytes, stat.ffiles) == (0, 0, 0)


# Reading


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("offset", [0, 999, len(BIG) - 7, len(BIG), len(BIG) + 1, 1 << 62])
@pytest.mark.parametrize("count", [0, 1, 7, 1 << 20, 0xFFFFFFFF])
def test_reads_are_slices_with_an_exact_end(
    client: NfsClient, tree: MemoryTree, offset: int, count: int, cold: bool
) -> None:
    file = client.handle("maps/1.0.0/big.bin")
    tree.cold = cold
    wanted = BIG[offset : offset + count]
    assert client.read(file, offset, count) == (wanted, offset + len(wanted) >= len(BIG))


def test_a_read_past_rtmax_is_short_and_does_not_claim_the_end(client: NfsClient, tree: MemoryTree) -> None:
    tree.publish("large", "1.0.0", {b"f": bytes((1 << 20) + 5)})
    file = client.handle("large/1.0.0/f")
    data, eof = client.read(file, 0, 2 << 20)
    assert (len(data), eof) == (1 << 20, False)


@pytest.mark.parametrize(("path", "status"), [("maps/1.0.0", S.NFS3ERR_ISDIR), ("maps/1.0.0/link", S.NFS3ERR_INVAL)])
def test_what_is_no_file_cannot_be_read(client: NfsClient, path: str, status: t.nfsstat3) -> None:
    assert client.call("READ", nfs3.READ3args(client.handle(path), 0, 10)).status is status


# Listing


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("count", [512, 1000, 4096, 65536, 1 << 20])
def test_listings_give_each_name_once_within_every_budget(
    client: NfsClient, tree: MemoryTree, count: int, plus: bool
) -> None:
    for path in ("", "maps", "maps/1.0.0", "@geo/roads/1.0.0", "maps/1.0.0/sub/empty"):
        names, _ = listed(client, client.handle(path), count, plus=plus)
        published = [e.name for e in tree.children(resolve(tree, path), limit=10000).entries]
        assert names == [b".", b"..", *published]


def test_a_client_may_change_between_both_listings_and_give_any_verifier(client: NfsClient) -> None:
    fh = client.handle("@geo/roads/1.0.0")
    names: list[bytes] = []
    cookie, eof, plus = 0, False, False
    while not eof:
        plus = not plus
        if plus:
            page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, cookie, b"anything", 4096, 8192)))
        else:
            page = ok(client.call("READDIR", nfs3.READDIR3args(fh, cookie, b"whatever", 4096)))
        names += [entry.name for entry in page.entries]
        cookie, eof = page.entries[-1].cookie, page.eof
    assert len(names) == len(set(names)) == 1502


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("count", [700, 65536])
def test_names_that_no_client_can_read_are_left_out_of_listings(
    client: NfsClient, tree: MemoryTree, count: int, plus: bool
) -> None:
    short = [b"a", b"m" * 255, b"z"]
    long = [bytes([letter]) * size for letter in b"bny" for size in (256, 4097, 65535)]
    tree.publish("long", "1.0.0", dict.fromkeys([*short, *long], b""))
    tree.publish("long", "2.0.0", dict.fromkeys(long, b""))
    assert listed(client, client.handle("long/1.0.0"), count, plus=plus)[0] == [b".", b"..", *short]
    assert listed(client, client.handle("long/2.0.0"), count, plus=plus)[0] == [b".", b".."]


@pytest.mark.parametrize("plus", [False, True])
def test_a_listing_of_a_followed_channel_goes_on_in_its_state_and_begins_in_that_of_the_moment(
    client: NfsClient, tree: MemoryTree, plus: bool
) -> None:
    def names_from(cookie: int, count: int, cookieverf: bytes) -> tuple[list[bytes], int, bytes]:
        if plus:
            page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(root, cookie, cookieverf, count, count)))
        else:
            page = ok(client.call("READDIR", nfs3.READDIR3args(root, cookie, cookieverf, count)))
        return [entry.name for entry in page.entries], page.entries[-1].cookie, page.cookieverf

    root = client.mount("MNT", b"/maps/latest").mountinfo.fhandle
    published = [e.name for e in tree.children(resolve(tree, "maps/1.0.0"), limit=100).entries]
    first, cookie, verifier = names_from(0, 600 if plus else 220, bytes(8))
    tree.publish("maps", "latest", {b"new": b"moved"})
    assert first + names_from(cookie, 65536, verifier)[0] == [b".", b"..", *published]
    assert names_from(0, 65536, verifier)[0] == [b".", b"..", b"new"]


def test_listed_handles_and_attributes_are_those_of_lookup(client: NfsClient) -> None:
    fh = client.handle("maps/1.0.0")
    page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, 0, bytes(8), 65536, 65536)))
    for entry in page.entries:
        if entry.name != b"..":
            found = ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(fh, entry.name))))
            assert (found.object, found.obj_attributes) == (entry.name_handle, entry.name_attributes)
            assert client.attributes(found.object).fileid == entry.fileid


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("READDIR", lambda fh: nfs3.READDIR3args(fh, 0, bytes(8), 0)),
        ("READDIR", lambda fh: nfs3.READDIR3args(fh, 0, bytes(8), 131)),
        ("READDIR", lambda fh: nfs3.READDIR3args(fh, 10**6, bytes(8), 100)),
        ("READDIRPLUS", lambda fh: nfs3.READDIRPLUS3args(fh, 0, bytes(8), 4096, 200)),
        ("READDIRPLUS", lambda fh: nfs3.READDIRPLUS3args(fh, 0, bytes(8), 20, 4096)),
        ("READDIRPLUS", lambda fh: nfs3.READDIRPLUS3args(fh, 10**6, bytes(8), 100, 100)),
    ],
)
def test_a_budget_for_not_even_one_name_is_too_small(client: NfsClient, name: str, args: Any) -> None:
    assert client.call(name, args(client.handle("maps/1.0.0"))).status is S.NFS3ERR_TOOSMALL


def test_a_page_whose_entries_are_all_gone_is_no_end_and_no_endless_loop(
    client: NfsClient, tree: MemoryTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tree.children(tree.root())
    limits: list[int] = []

    def with_a_gap(_folder: Node, after: int, limit: int, _verifier: bytes) -> Listing:
        limits.append(limit)
        left = [entry for entry in whole.entries if entry.cookie > after]
        return Listing(left, True, bytes(8)) if limit >= 4096 else Listing([], False, bytes(8))

    fh = client.handle("")
    monkeypatch.setattr(tree, "_children", with_a_gap)
    page = ok(client.call("READDIR", nfs3.READDIR3args(fh, 2, bytes(8), 65536)))
    assert ([e.name for e in page.entries], page.eof) == ([e.name for e in whole.entries], True)
    assert limits == [512, 1024, 2048, 4096]


def test_cookies_beyond_the_end_list_nothing_and_impossible_ones_are_bad(client: NfsClient) -> None:
    fh = client.handle("maps/1.0.0")
    page = ok(client.call("READDIR", nfs3.READDIR3args(fh, 10**6, bytes(8), 4096)))
    assert (page.entries, page.eof) == ([], True)
    assert client.call("READDIR", nfs3.READDIR3args(fh, 1 << 63, bytes(8), 4096)).status is S.NFS3ERR_BAD_COOKIE
    file = client.handle("maps/1.0.0/a.txt")
    assert client.call("READDIR", nfs3.READDIR3args(file, 0, bytes(8), 4096)).status is S.NFS3ERR_NOTDIR


# Refusing


NOTHING = t.sattr3(None, None, None, None, Choice(0), Choice(0))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SETATTR", lambda fh, at: nfs3.SETATTR3args(fh, NOTHING, None)),
        ("WRITE", lambda fh, at: nfs3.WRITE3args(fh, 0, 65536, Choice(2), bytes(65536))),
        ("CREATE", lambda fh, at: nfs3.CREATE3args(at, Choice(0, NOTHING))),
        ("MKDIR", lambda fh, at: nfs3.MKDIR3args(at, NOTHING)),
        ("SYMLINK", lambda fh, at: nfs3.SYMLINK3args(at, NOTHING, b"to")),
        ("MKNOD", lambda fh, at: nfs3.MKNOD3args(at, Choice(t.ftype3.NF3FIFO, NOTHING))),
        ("REMOVE", lambda fh, at: nfs3.REMOVE3args(at)),
        ("RMDIR", lambda fh, at: nfs3.REMOVE3args(at)),
        ("RENAME", lambda fh, at: nfs3.RENAME3args(at, at)),
        ("LINK", lambda fh, at: nfs3.LINK3args(fh, at)),
        ("COMMIT", lambda fh, at: nfs3.COMMIT3args(fh, 0, 0)),
    ],
)
def test_what_would_change_something_is_refused_as_read_only(client: NfsClient, name: str, args: Any) -> None:
    fh = client.handle("maps/1.0.0")
    got = client.attributes(fh)
    result = client.call(name, args(fh, t.diropargs3(fh, b"x")))
    assert result.status is S.NFS3ERR_ROFS
    attributes = t.FATTR3.pack(*got)
    before = t.wcc_attr(got.size, t.nfstime3(got.mtime_s, got.mtime_ns), t.nfstime3(got.ctime_s, got.ctime_ns))
    unchanged = t.wcc_data(before, attributes)
    expected = {"RENAME": (unchanged, unchanged), "LINK": (attributes, unchanged)}.get(name, unchanged)
    assert result.resfail == expected


def test_a_writer_with_a_bad_handle_is_told_so(client: NfsClient) -> None:
    good = client.handle("maps/1.0.0")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    assert client.call("MKDIR", nfs3.MKDIR3args(t.diropargs3(bad, b"x"), NOTHING)).status is S.NFS3ERR_BADHANDLE
    assert client.call("COMMIT", nfs3.COMMIT3args(bad, 0, 0)).status is S.NFS3ERR_BADHANDLE


@pytest.mark.parametrize(
    "name", ["GETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO"]
)
def test_altered_handles_are_bad_for_every_procedure(client: NfsClient, name: str) -> None:
    good = client.handle("maps/1.0.0")
    client.attributes(good)
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:36] + b"\1" + good[37:], good[:63], b""):
        args = {
            "LOOKUP": nfs3.LOOKUP3args(t.diropargs3(bad, b"x")),
            "ACCESS": nfs3.ACCESS3args(bad, 1),
            "READ": nfs3.READ3args(bad, 0, 1),
            "READDIR": nfs3.READDIR3args(bad, 0, bytes(8), 4096),
            "READDIRPLUS": nfs3.READDIRPLUS3args(bad, 0, bytes(8), 4096, 4096),
        }.get(name, (bad,))
        assert client.call(name, args).status is S.NFS3ERR_BADHANDLE


def test_a_removed_dataset_is_stale_where_it_is_not_remembered(tree: MemoryTree) -> None:
    with serving(tree) as (_, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
        client.attributes(file)
    tree.remove("maps")
    with serving(tree) as (_, port), NfsClient(port) as client:
        assert client.call("GETATTR", nfs3.GETATTR3args(file)).status is S.NFS3ERR_STALE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("s3://x", "time-out"), S.NFS3ERR_JUKEBOX),
        (BlockCorrupt(expected=b"12345678", source="pack", why="digest"), S.NFS3ERR_IO),
        (RuntimeError("nobody foresaw this"), S.NFS3ERR_SERVERFAULT),
    ],
)
def test_failures_of_the_store_reach_the_client_as_its_own_words(
    client: NfsClient, tree: MemoryTree, error: Exception, status: t.nfsstat3
) -> None:
    file = client.handle("maps/1.0.0/a.txt")

    def fail(_operation: str) -> None:
        raise error

    tree.cold, tree.on_blocking = True, fail
    assert client.call("READ", nfs3.READ3args(file, 0, 10)).status is status
    assert isinstance(error, StoreError) or status is S.NFS3ERR_SERVERFAULT
    tree.cold = False
    assert client.read(file, 0, 10) == (b"hello\n", True)


def test_a_tree_that_breaks_in_a_warm_read_costs_one_answer_and_not_the_connection(
    client: NfsClient, tree: MemoryTree, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = client.handle("maps/1.0.0/a.txt")
    client.read(file, 0, 10)

    def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    with monkeypatch.context() as patch:
        patch.setattr(tree, "_read", fail)
        assert client.call("READ", nfs3.READ3args(file, 0, 10)).status is S.NFS3ERR_SERVERFAULT
    assert client.read(file, 0, 10) == (b"hello\n", True)


# RPC


def raw(xid: int, prog: int, vers: int, proc: int) -> bytes:
    return encode_call(xid, prog, vers, proc, b"", USER)


@pytest.mark.parametrize(
    ("record", "reply"),
    [
        (raw(7, 100003, 4, 0), "0000000700000001000000000000000000000000" + "00000002" + "0000000300000003"),
        (raw(7, 100005, 1, 0), "0000000700000001000000000000000000000000" + "00000002" + "0000000300000003"),
        (raw(7, 100227, 3, 0), "0000000700000001000000000000000000000000" + "00000001"),
        (raw(7, 100003, 3, 22), "0000000700000001000000000000000000000000" + "00000003"),
        (raw(7, 100003, 3, 256 + 1), "0000000700000001000000000000000000000000" + "00000003"),
        (raw(7, 100005, 3, 6), "0000000700000001000000000000000000000000" + "00000003"),
        (raw(7, 100003, 3, 1), "0000000700000001000000000000000000000000" + "00000004"),
        (raw(7, 100003, 3, 0), "0000000700000001000000000000000000000000" + "00000000"),
        (
            raw(7, 100003, 3, 0).replace(b"\0\0\0\2\0\1\x86\xa3", b"\0\0\0\3\0\1\x86\xa3"),
            "00000007000000010000000100000000" + "0000000200000002",
        ),
        (
            encode_call(7, 100003, 3, 0)[:24] + bytes.fromhex("0000000700000000") + bytes(8),
            "00000007000000010000000100000001" + "00000001",
        ),
    ],
    ids=[
        "NFSv4",
        "MOUNT 1",
        "NFSACL",
        "no such procedure",
        "procedure 257",
        "no such MOUNT procedure",
        "garbage",
        "NULL",
        "RPC 3",
        "AUTH_TLS",
    ],
)
def test_rpc_answers_what_it_does_not_serve(client: NfsClient, record: bytes, reply: str) -> None:
    client.send(record)
    assert client.receive().hex() == reply
    client.call("NULL")


def test_calls_may_come_in_any_pieces(client: NfsClient) -> None:
    record = raw(9, 100003, 3, 0)
    stream = b"".join(
        (LAST_FRAGMENT * (i == len(record) - 1) | 1).to_bytes(4, "big") + record[i : i + 1] for i in range(len(record))
    )
    for i in range(0, len(stream), 3):
        client.sock.sendall(stream[i : i + 3])
    assert client.receive()[:4] == record[:4]


@pytest.mark.parametrize(
    "stream",
    [
        (LAST_FRAGMENT | 70_000).to_bytes(4, "big"),
        b"\0\0\0\0" * 2000,
        marked(b"too short"),
        marked(b"\0\0\0\1" * 20),
    ],
    ids=["too long", "endless empty fragments", "no header", "a reply"],
)
def test_streams_that_make_no_sense_end_the_connection(client: NfsClient, port: int, stream: bytes) -> None:
    client.sock.sendall(stream)
    with contextlib.suppress(ConnectionResetError):
        assert client.receive() == b""
    with NfsClient(port) as other:
        other.call("NULL")


# Threads


def test_a_cold_call_does_not_hold_up_warm_ones(client: NfsClient, tree: MemoryTree) -> None:
    go, began = threading.Event(), threading.Event()
    file, folder = client.handle("maps/1.0.0/a.txt"), client.handle("maps/1.0.0/sub")
    client.attributes(folder)

    def wait(_operation: str) -> None:
        began.set()
        assert go.wait(TIMEOUT_S)

    tree.cold, tree.on_blocking = True, wait
    cold = client.start("READ", nfs3.READ3args(file, 0, 10))
    assert began.wait(TIMEOUT_S)
    warm = client.start("GETATTR", nfs3.GETATTR3args(folder))
    assert int.from_bytes(client.receive()[:4], "big") == warm
    go.set()
    assert int.from_bytes(client.receive()[:4], "big") == cold


def test_what_the_tree_has_in_memory_never_waits_for_the_pool(client: NfsClient, tree: MemoryTree) -> None:
    folder, link = client.handle("maps/1.0.0/sub"), client.handle("maps/1.0.0/link")
    root, dataset = client.handle(""), client.handle("maps")
    tree.blocking_calls.clear()
    assert ok(client.call("READLINK", nfs3.READLINK3args(link))).data == b"a.txt"
    assert ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(folder, b".."))))
    for fh in (root, dataset, folder):
        listed = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, 0, bytes(8), 65536, 65536)))
        assert len(listed.entries) > 2
        assert ok(client.call("READDIR", nfs3.READDIR3args(fh, 0, bytes(8), 65536))).eof
    assert not tree.blocking_calls


def test_more_calls_than_may_be_in_flight_are_all_answered(tree: MemoryTree) -> None:
    with (
        serving(tree, limits=Limits(pending_calls=3, pool_threads=2, connection_bytes=5000)) as (_, port),
        NfsClient(port) as client,
    ):
        file = client.handle("maps/1.0.0/big.bin")
        tree.cold = True
        xids = {client.start("READ", nfs3.READ3args(file, i * 1000, 1000)) for i in range(100)}
        assert {int.from_bytes(client.receive()[:4], "big") for _ in xids} == xids


def test_a_client_that_takes_no_replies_holds_up_nobody_else(port: int, tree: MemoryTree) -> None:
    tree.publish("large", "1.0.0", {b"f": bytes(1 << 20)})
    with NfsClient(port) as greedy, NfsClient(port) as client:
        file = greedy.handle("large/1.0.0/f")
        for _ in range(40):
            last = greedy.start("READ", nfs3.READ3args(file, 0, 1 << 20))
        assert client.read(file, 5, 10) == (bytes(10), False)
        tree.cold = True
        assert client.read(file, 5, 10) == (bytes(10), False)
        replies = {int.from_bytes(greedy.receive()[:4], "big") for _ in range(40)}
        assert replies == set(range(last - 39, last + 1))


def test_the_connection_that_was_silent_for_longest_makes_room_for_a_new_one(tree: MemoryTree) -> None:
    limits = Limits(connections=2, idle_s=0.0)
    with serving(tree, limits=limits) as (server, port), NfsClient(port) as silent, NfsClient(port) as busy:
        silent.call("NULL")
        busy.call("NULL")
        busy.call("NULL")
        assert server.connections == 2
        with NfsClient(port) as new:
            new.call("NULL")
            assert silent.receive() == b""
            busy.call("NULL")
            assert server.connections == 2


def test_draining_answers_calls_in_flight_and_accepts_no_more(tree: MemoryTree) -> None:
    go, began = threading.Event(), threading.Event()
    with serving(tree) as (server, port), NfsClient(port) as client, NfsClient(port) as idle:
        file = client.handle("maps/1.0.0/a.txt")
        idle.call("NULL")

        def wait(_operation: str) -> None:
            began.set()
            assert go.wait(TIMEOUT_S)

        tree.cold, tree.on_blocking = True, wait
        xid = client.start("READ", nfs3.READ3args(file, 0, 10))
        assert began.wait(TIMEOUT_S)
        outcome: list[bool] = []
        drain = threading.Thread(target=lambda: outcome.append(server.drain(TIMEOUT_S)))
        drain.start()
        assert idle.receive() == b""
        go.set()
        assert int.from_bytes(client.receive()[:4], "big") == xid
        assert client.receive() == b""
        drain.join()
        assert outcome == [True]


def test_draining_cuts_off_what_takes_too_long(tree: MemoryTree) -> None:
    go, began = threading.Event(), threading.Event()
    with serving(tree) as (server, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")

        def wait(_operation: str) -> None:
            began.set()
            assert go.wait(TIMEOUT_S)

        tree.cold, tree.on_blocking = True, wait
        client.start("READ", nfs3.READ3args(file, 0, 10))
        assert began.wait(TIMEOUT_S)
        assert server.drain(0.05) is False
        assert client.receive() == b""
        go.set()


def test_handles_outlive_the_server(tree: MemoryTree) -> None:
    with serving(tree) as (_, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
    with serving(tree) as (_, port), NfsClient(port) as client:
        assert client.read(file, 0, 10) == (b"hello\n", True)


def test_a_client_that_vanishes_leaves_the_others_alone(port: int) -> None:
    with NfsClient(port) as rude:
        rude.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.start("NULL")
    with NfsClient(port) as client:
        client.call("NULL")


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (("192.0.2.1", 700), "192.0.2.1"),
        (("::ffff:192.0.2.1", 700, 0, 0), "192.0.2.1"),
        (("::1", 700, 0, 0), "::1"),
        (("::ffff:0:1", 700, 0, 0), "::ffff:0:1"),
        (("fe80::1%eth0", 700, 0, 2), "fe80::1%eth0"),
        ("", "local"),
    ],
)
def test_a_peer_is_called_the_same_whatever_socket_it_came_by(peer: object, host: str) -> None:
    assert host_of(peer) == host
