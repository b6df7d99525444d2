"""The small parts: memory of replies, attributes, the table of errors, the table of procedures."""

from collections.abc import Iterator

import pytest

from nfs.attributes import fattr3_bytes, nfstime, small_fileid
from nfs.fhandle import BadHandle
from nfs.memo import Memo
from nfs.outgoing import JOINED, Batch
from nfs.status import STATUS, mount_status_of, status_of
from nfs.table import MOUNT_PROCEDURES, NFS_PROCEDURES
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import FATTR3, fattr3, nfsstat3
from store.errors import PathMissing, StoreError
from store.vfs.tree import Kind, Node, Place, Space

PLACE = Place(Space.STATE, 1, 1, bytes(16), 1)


def leaves(error: type[StoreError]) -> Iterator[type[StoreError]]:
    subclasses = error.__subclasses__()
    if not subclasses:
        yield error
    for subclass in subclasses:
        yield from leaves(subclass)


@pytest.mark.parametrize("leaf", sorted(set(leaves(StoreError)), key=str))
def test_every_error_of_the_store_has_its_status(leaf: type[StoreError]) -> None:
    assert leaf in STATUS


def test_an_unknown_error_is_the_servers_fault() -> None:
    assert status_of(BadHandle("x")) is nfsstat3.NFS3ERR_BADHANDLE
    assert status_of(PathMissing(b"x")) is nfsstat3.NFS3ERR_NOENT
    assert status_of(RuntimeError()) is nfsstat3.NFS3ERR_SERVERFAULT


@pytest.mark.parametrize("status", [s for s in nfsstat3 if s])
def test_mount_never_calls_a_failure_a_success(status: nfsstat3) -> None:
    assert mount_status_of(status) is not mountstat3.MNT3_OK


def test_every_procedure_of_both_programs_is_answered() -> None:
    assert sorted(NFS_PROCEDURES) == list(range(22))
    assert sorted(MOUNT_PROCEDURES) == list(range(6))


@pytest.mark.parametrize("limit", [2, 3, 10, 11])
def test_a_memo_never_holds_more_than_its_limit(limit: int) -> None:
    memo: Memo[int, int] = Memo(limit)
    for i in range(100):
        memo.put(i, i)
        assert memo.get(i) == i
        assert len(memo) <= limit


def test_a_memo_keeps_what_is_asked_for() -> None:
    memo: Memo[int, str] = Memo(10)
    memo.put(-1, "kept")
    for i in range(100):
        memo.put(i, "passing")
        assert memo.get(-1) == "kept"
    assert memo.get(0) is None


@pytest.mark.parametrize(
    ("fileid", "small"), [(1, 1), (1 << 32, 1), (0x8000_0000, 1), (0x7FFF_FFFF << 32 | 1, 0x7FFF_FFFE)]
)
def test_small_fileids_have_31_bits_and_are_never_0(fileid: int, small: int) -> None:
    assert small_fileid(fileid) == small


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, (0, 0)),
        (1_500_000_000, (1, 500_000_000)),
        (-1, (0, 0)),
        (-(10**18), (0, 0)),
        (2**32 * 10**9 - 1, (2**32 - 1, 999_999_999)),
        (2**32 * 10**9, (2**32 - 1, 999_999_999)),
    ],
)
def test_times_outside_the_protocols_range_become_the_nearest(time_ns: int, expected: tuple[int, int]) -> None:
    assert nfstime(time_ns) == expected


@pytest.mark.parametrize(
    ("kind", "size", "executable", "mode", "shown", "used"),
    [
        (Kind.FILE, 0, False, 0o444, 0, 0),
        (Kind.FILE, 1, True, 0o555, 1, 512),
        (Kind.FILE, 512, False, 0o444, 512, 512),
        (Kind.FILE, 2**63, False, 0o444, 2**63, 2**63),
        (Kind.FOLDER, 0, False, 0o555, 4096, 4096),
        (Kind.FOLDER, 1000, False, 0o555, 32000, 32256),
        (Kind.LINK, 5, False, 0o777, 5, 512),
    ],
)
def test_attributes_tell_kind_and_size(
    kind: Kind, size: int, executable: bool, mode: int, shown: int, used: int
) -> None:
    node = Node(kind, PLACE, 99, size, 0, 0, executable, False)
    attributes = fattr3(*FATTR3.unpack(fattr3_bytes(node, fileid=99, fsid=7, uid=1, gid=2)))
    assert (attributes.mode, attributes.size, attributes.used, attributes.nlink) == (mode, shown, used, 1)
    assert (attributes.fsid, attributes.fileid, attributes.uid, attributes.gid) == (7, 99, 1, 2)


def test_a_batch_keeps_the_order_of_small_and_large_replies() -> None:
    batch = Batch()
    batch.small((b"a", b"b"))
    batch.large(b"head", [memoryview(b"data"), memoryview(b"more")], b"\0")
    batch.reply([b"c"])
    batch.reply([b"d", bytes(JOINED + 1), b"e"])
    assert batch.large_bytes == 8 + JOINED + 1
    assert b"".join(batch.take()) == b"ab" + b"headdatamore\0" + b"cd" + bytes(JOINED + 1) + b"e"
    assert batch.take() == []
    assert batch.large_bytes == 0
