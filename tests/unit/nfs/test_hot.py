"""The short way and the table answer byte for byte the same."""

from collections.abc import Sequence

import pytest

from nfs.access import Access, Exports
from nfs.dispatch import Runnable, parse, run_blocking
from nfs.export import Export
from nfs.fhandle import WHOLE_TREE
from nfs.grants import OpenGrants, Peer
from nfs.hot import FastLane
from nfs.outgoing import JOINED, Batch
from nfs.table import NFS_PROCEDURES
from nfs.view import BlockingView
from nfs.wire import nfs3
from nfs.wire import nfs3types as t
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3
from nfs.wire.rpc import accept_stat, accepted, encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.nfs_client import KEY, NFS_NUMBERS, USER
from tests.support.trees import MemoryTree, resolve


class Lane:
    """Both ways over one tree."""

    def __init__(self) -> None:
        self.tree = MemoryTree(chunk_size=1000)
        self.tree.publish("maps", "1.0.0", SAMPLE)
        self.export = Export(self.tree, handle_key=KEY)
        self.access = Access(OpenGrants(self.tree), Exports(self.export), Peer("host"))
        self.fast = FastLane(self.access)

    def handle(self, path: str) -> bytes:
        return self.export.outward(resolve(self.tree, path), WHOLE_TREE)[0]

    def by_table(self, record: bytes) -> bytes:
        runnable = parse(record)
        assert isinstance(runnable, Runnable)
        view = BlockingView(self.access.now, b"host")
        results = run_blocking(record, runnable, view)
        assert not isinstance(results, accept_stat)
        if view.lasting:
            view.kept.remember(runnable.call.proc, record[runnable.call.args_at :], results)
        self.fast.trust(record, runnable.call.args_at)
        return b"".join(accepted(runnable.call.xid, results))

    def by_fast_lane(self, record: bytes) -> bytes | None:
        batch = Batch()
        return b"".join(batch.take()) if self.fast.answer(record, batch) else None


@pytest.fixture
def lane() -> Lane:
    return Lane()


def call(name: str, args: Sequence[object], xid: int = 5) -> bytes:
    number = NFS_NUMBERS[name]
    return encode_call(xid, NFS_PROGRAM, NFS_V3, number, encode_whole(NFS_PROCEDURES[number].args, args), USER)


@pytest.mark.parametrize(
    ("name", "path", "rest"),
    [
        ("GETATTR", "maps/1.0.0", ()),
        ("GETATTR", "maps/1.0.0/a.txt", ()),
        ("ACCESS", "maps/1.0.0/run.sh", (0x3F,)),
        ("READLINK", "maps/1.0.0/link", ()),
        ("READDIR", "maps/1.0.0/names", (0, bytes(8), 4096)),
        ("READDIRPLUS", "maps/1.0.0/names", (0, bytes(8), 4096, 8192)),
        ("FSINFO", "maps/1.0.0", ()),
        ("PATHCONF", "maps/1.0.0", ()),
        *[
            ("READ", "maps/1.0.0/big.bin", (offset, count))
            for offset in (0, 1, 999, len(BIG) - 3, len(BIG), 1 << 60)
            for count in (0, 1, 2, 3, 1001, 1 << 20, 0xFFFFFFFF)
        ],
    ],
)
def test_the_fast_lane_repeats_the_table(lane: Lane, name: str, path: str, rest: tuple[object, ...]) -> None:
    args = (lane.handle(path), *rest)
    expected = lane.by_table(call(name, args))
    assert lane.by_fast_lane(call(name, args)) == expected
    assert lane.by_fast_lane(call(name, args, xid=6)) == (6).to_bytes(4, "big").join([expected[:4], expected[8:]])


@pytest.mark.parametrize("name", [b"a.txt", b"nothing"])
def test_lookups_in_a_state_are_kept_found_or_not(lane: Lane, name: bytes) -> None:
    record = call("LOOKUP", (t.diropargs3(lane.handle("maps/1.0.0"), name),))
    expected = lane.by_table(record)
    assert lane.by_fast_lane(record) == expected


@pytest.mark.parametrize(
    ("name", "path", "rest"),
    [
        ("GETATTR", "", ()),
        ("GETATTR", "maps", ()),
        ("ACCESS", "maps", (1,)),
        ("READDIR", "maps", (0, bytes(8), 4096)),
        ("READDIRPLUS", "", (0, bytes(8), 4096, 4096)),
        ("FSSTAT", "maps/1.0.0", ()),
        ("READ", "maps/1.0.0/sub", (0, 10)),
        ("READ", "maps/1.0.0/link", (0, 10)),
        ("GETATTR", "nothing", ()),
    ],
)
def test_answers_that_may_change_and_failures_are_left_to_the_table(
    lane: Lane, name: str, path: str, rest: tuple[object, ...]
) -> None:
    args = (b"no handle" if path == "nothing" else lane.handle(path), *rest)
    lane.by_table(call(name, args))
    assert lane.by_fast_lane(call(name, args)) is None


def test_a_lookup_of_a_tag_or_of_dotdot_out_of_a_state_is_not_kept(lane: Lane) -> None:
    for path, name in (("maps", b"1.0.0"), ("maps/1.0.0", b"..")):
        record = call("LOOKUP", (t.diropargs3(lane.handle(path), name),))
        lane.by_table(record)
        assert lane.by_fast_lane(record) is None


def test_other_credentials_versions_and_garbage_are_left_to_the_table(lane: Lane) -> None:
    args = nfs3.GETATTR3args(lane.handle("maps/1.0.0"))
    record = call("GETATTR", args)
    lane.by_table(record)
    body = encode_whole(nfs3.GETATTR3[0], args)
    for other in (
        encode_call(5, NFS_PROGRAM, NFS_V3, 1, body),
        encode_call(5, NFS_PROGRAM, NFS_V3, 1, body, USER._replace(uid=0)),
        encode_call(5, NFS_PROGRAM, 4, 1, body, USER),
        encode_call(5, NFS_PROGRAM, NFS_V3, 1 + 256, body, USER),
        record + b"\0\0\0\0",
        record[:-4],
        record[:10],
    ):
        assert lane.by_fast_lane(other) is None


def test_cold_data_is_left_to_the_table(lane: Lane) -> None:
    record = call("READ", (lane.handle("maps/1.0.0/big.bin"), 0, 100))
    lane.by_table(record)
    lane.tree.cold = True
    assert lane.by_fast_lane(record) is None


def test_read_data_is_not_copied_but_where_that_is_cheaper_than_a_buffer_each(lane: Lane) -> None:
    for count, views in ((JOINED, []), (JOINED + 1, [1000, 1000, 1000, 1000, 97])):
        record = call("READ", (lane.handle("maps/1.0.0/big.bin"), 0, count))
        lane.by_table(record)
        batch = Batch()
        assert lane.fast.answer(record, batch)
        assert [len(part) for part in batch.take() if isinstance(part, memoryview)] == views
