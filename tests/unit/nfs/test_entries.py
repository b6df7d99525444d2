"""Pages of READDIRPLUS that are packed as they are taken are, byte for byte, what the codec makes of their entries."""

import pytest

from nfs.dispatch import Runnable, parse, run_blocking
from nfs.export import Export
from nfs.fhandle import WHOLE_TREE
from nfs.view import BlockingView
from nfs.wire import nfs3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3
from nfs.wire.rpc import accept_stat, encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, USER
from tests.support.trees import MemoryTree, resolve
from tests.support.views import shown_to_all

READDIRPLUS = 17


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("maps", "latest", {b"other": b""})
    tree.publish("@geo/roads", "1.0.0", {f"{i:04}".encode() * (1 + i % 20): b"x" * i for i in range(700)})
    return tree


@pytest.mark.parametrize("path", ["", "@geo", "maps", "maps/1.0.0", "maps/1.0.0/names", "@geo/roads/1.0.0"])
@pytest.mark.parametrize("mounted", [False, True])
def test_a_packed_page_is_what_the_codec_makes_of_it(tree: MemoryTree, path: str, mounted: bool) -> None:
    export = Export(tree, handle_key=KEY)
    folder = resolve(tree, path)
    within = export.mounted(folder.place) if mounted else WHOLE_TREE
    fh = export.outward(folder, within)[0]
    names: list[bytes] = []
    cookie, eof = 0, False
    while not eof:
        args = encode_whole(nfs3.READDIRPLUS3[0], nfs3.READDIRPLUS3args(fh, cookie, bytes(8), 8192, 8192))
        record = encode_call(1, NFS_PROGRAM, NFS_V3, READDIRPLUS, args, USER)
        runnable = parse(record)
        assert isinstance(runnable, Runnable)
        results = run_blocking(record, runnable, BlockingView(shown_to_all(export), b"host"))
        assert not isinstance(results, accept_stat)
        reply = b"".join(results)
        decoded, end = nfs3.READDIRPLUS3[1].decode(reply, 0)
        assert end == len(reply)
        assert encode_whole(nfs3.READDIRPLUS3[1], decoded) == reply
        page = decoded.resok
        assert page is not None
        assert not isinstance(page.entries, bytes)
        by_name = {entry.name: entry.node for entry in tree.children(folder, limit=10_000).entries}
        for entry in page.entries:
            names.append(entry.name)
            node = by_name.get(entry.name, folder)
            if entry.name != b"..":
                assert (entry.name_handle, entry.name_attributes) == export.outward(node, within)
                assert entry.fileid == node.fileid
        cookie, eof = page.entries[-1].cookie, page.eof
    assert names == [b".", b"..", *by_name]
