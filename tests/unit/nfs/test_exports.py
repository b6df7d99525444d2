"""A mounted folder is an export of its own: `..` stops at it, and its handles reach nothing else."""

import socket
import threading
from collections import deque
from collections.abc import Iterator

import pytest

from nfs.export import Export
from nfs.fhandle import WHOLE_TREE, FileHandles
from nfs.handlers import mount
from nfs.server import NfsServer
from nfs.view import BlockingView
from nfs.wire import nfs3
from nfs.wire import nfs3types as t
from nfs.wire.mount3 import mountbody
from store.vfs.tree import Kind
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, NfsClient, ok, serving
from tests.support.trees import MemoryTree, resolve
from tests.support.views import shown_to_all


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("maps", "latest", SAMPLE)
    tree.publish("maps", "stable", {b"sub": {b"file": b"other"}})
    tree.publish("@geo/roads", "1.0.0", SAMPLE)
    tree.publish("secret", "1.0.0", {b"key": b"1234"})
    return tree


@pytest.fixture
def client(tree: MemoryTree) -> Iterator[NfsClient]:
    with serving(tree) as (_, port), NfsClient(port) as client:
        yield client


def mounted(client: NfsClient, path: str) -> bytes:
    root: bytes = client.mount("MNT", path.encode()).mountinfo.fhandle
    return root


def looked_up(client: NfsClient, folder: bytes, name: bytes) -> bytes:
    found: bytes = ok(client.call("LOOKUP", nfs3.LOOKUP3args(t.diropargs3(folder, name)))).object
    return found


def reached(client: NfsClient, root: bytes) -> set[bytes]:
    """Return every handle that can be had from one, by names, `.`, `..` and listings."""
    seen, todo = {root}, deque([root])
    while todo:
        fh = todo.popleft()
        if client.attributes(fh).type != t.ftype3.NF3DIR:
            continue
        page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, 0, bytes(8), 65536, 65536)))
        assert page.eof
        found = [e.name_handle for e in page.entries if e.name_handle is not None]
        found += [looked_up(client, fh, name) for name in (b".", b"..")]
        for handle in found:
            if handle not in seen:
                seen.add(handle)
                todo.append(handle)
    return seen


def below(tree: MemoryTree, path: str) -> int:
    """Count a folder and everything below it."""
    count, todo = 1, [resolve(tree, path)]
    while todo:
        for entry in tree.children(todo.pop()).entries:
            count += 1
            if entry.node.kind is Kind.FOLDER:
                todo.append(entry.node)
    return count


@pytest.mark.parametrize("path", ["/@geo", "/maps", "/maps/1.0.0", "/maps/1.0.0/sub", "/maps/1.0.0/sub/deep"])
def test_a_mounted_folder_reaches_itself_and_what_is_below_and_nothing_else(
    client: NfsClient, tree: MemoryTree, path: str
) -> None:
    handles = reached(client, mounted(client, path))
    assert len(handles) == below(tree, path)
    exports = {FileHandles(KEY).decode(handle).export for handle in handles}
    assert len(exports) == 1
    assert exports != {WHOLE_TREE}


def test_a_mounted_channel_reaches_its_files_and_its_root_is_the_one_that_was_mounted(
    client: NfsClient, tree: MemoryTree
) -> None:
    root = mounted(client, "/maps/latest")
    assert len(reached(client, root)) == below(tree, "maps/latest")
    assert looked_up(client, root, b"..") == root
    assert looked_up(client, looked_up(client, root, b"sub"), b"..") == root
    page = ok(client.call("READDIR", nfs3.READDIR3args(looked_up(client, root, b"sub"), 0, bytes(8), 4096)))
    assert page.entries[1][:2] == (client.attributes(root).fileid, b"..")


def test_files_of_a_mounted_channel_lead_up_to_it_after_it_moved(client: NfsClient, tree: MemoryTree) -> None:
    root = mounted(client, "/maps/latest")
    sub = looked_up(client, root, b"sub")
    tree.publish("maps", "latest", {b"new": b""})
    assert looked_up(client, sub, b"..") == root


@pytest.mark.parametrize("path", ["/maps", "/maps/1.0.0", "/maps/1.0.0/sub", "/maps/latest"])
def test_dotdot_of_a_mounted_root_is_itself_in_listings_too(client: NfsClient, path: str) -> None:
    root = mounted(client, path)
    own = client.attributes(root).fileid
    for procedure, args in (
        ("READDIR", nfs3.READDIR3args(root, 0, bytes(8), 4096)),
        ("READDIRPLUS", nfs3.READDIRPLUS3args(root, 0, bytes(8), 4096, 8192)),
    ):
        page = ok(client.call(procedure, args))
        assert [entry[:2] for entry in page.entries[:2]] == [(own, b"."), (own, b"..")]


def test_the_whole_tree_goes_up_to_its_root(client: NfsClient) -> None:
    root = mounted(client, "/")
    fh = root
    for name in (b"maps", b"1.0.0", b"sub"):
        fh = looked_up(client, fh, name)
    for _ in range(3):
        fh = looked_up(client, fh, b"..")
    assert fh == root
    assert FileHandles(KEY).decode(root).export == WHOLE_TREE


def test_one_file_has_one_identity_and_content_in_every_export(client: NfsClient) -> None:
    paths = [("/", b"maps/1.0.0/a.txt"), ("/maps", b"1.0.0/a.txt"), ("/maps/1.0.0", b"a.txt")]
    handles = []
    for path, names in paths:
        fh = mounted(client, path)
        for name in names.split(b"/"):
            fh = looked_up(client, fh, name)
        handles.append(fh)
    assert len(set(handles)) == 3
    assert len({client.attributes(fh) for fh in handles}) == 1
    assert {client.read(fh, 0, 100) for fh in handles} == {(b"hello\n", True)}


def test_an_export_put_into_another_exports_handle_makes_it_bad(client: NfsClient) -> None:
    a, b = mounted(client, "/maps/1.0.0/sub"), mounted(client, "/secret")
    for swapped in (a[:2] + b[2:8] + a[8:], b[:2] + a[2:8] + b[8:], a[:2] + bytes(6) + a[8:]):
        assert client.call("GETATTR", nfs3.GETATTR3args(swapped)).status is t.nfsstat3.NFS3ERR_BADHANDLE


def test_every_gateway_of_a_store_gives_an_export_the_same_handle(tree: MemoryTree, client: NfsClient) -> None:
    with serving(tree) as (_, port), NfsClient(port) as other:
        for path in ("/maps", "/maps/latest", "/maps/1.0.0/sub"):
            assert mounted(client, path) == mounted(other, path)


def test_small_fileids_are_the_same_in_attributes_and_listings(tree: MemoryTree) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = NfsServer(listener, tree, handle_key=KEY, small_fileids=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with NfsClient(listener.getsockname()[1]) as client:
            folder = client.handle("maps/1.0.0/sub")
            page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(folder, 0, bytes(8), 65536, 65536)))
            numbers = [entry.fileid for entry in page.entries]
            assert [client.attributes(e.name_handle).fileid for e in page.entries if e.name_handle] == [
                numbers[0],
                *numbers[2:],
            ]
            assert client.attributes(looked_up(client, folder, b"..")).fileid == numbers[1]
            assert all(0 < number < 1 << 31 for number in numbers)
        server.drain(5)
        thread.join()


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (b"127.0.0.1", [b"192.0.2.7", b"127.0.0.1"]),
        (b"::1", [b"192.0.2.7", b"127.0.0.1"]),
        (b"::ffff:127.0.0.1", [b"192.0.2.7", b"127.0.0.1"]),
        (b"192.0.2.7", [b"192.0.2.7"]),
        (b"192.0.2.8", []),
        (b"fe80::1%eth0", []),
    ],
)
def test_dump_tells_others_only_of_their_own_mounts(tree: MemoryTree, host: bytes, seen: list[bytes]) -> None:
    export = Export(tree, handle_key=KEY)
    for mounting in (b"192.0.2.7", b"127.0.0.1"):
        mount.mnt(b"/maps", BlockingView(shown_to_all(export), mounting))
    assert mount.dump(None, BlockingView(shown_to_all(export), host)) == [mountbody(name, b"/maps") for name in seen]
