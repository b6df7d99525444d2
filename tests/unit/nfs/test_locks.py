"""The lock manager over a connection: readers get their locks, writers are told that the file system is read-only."""

from collections.abc import Iterator

import pytest

from nfs.wire import nlm4
from nfs.wire.nlm4 import NLM_V4, fsh4_access, fsh4_mode, nlm4_stats
from nfs.wire.rpc import accept_stat, prog_mismatch, refused
from tests.conformance.tree_cases import SAMPLE
from tests.support.lock_client import COOKIE, NLM_NUMBERS, LockClient, lock
from tests.support.nfs_client import serving
from tests.support.trees import MemoryTree

GRANTED, ROFS, FAILED = nlm4_stats.NLM4_GRANTED, nlm4_stats.NLM4_ROFS, nlm4_stats.NLM4_FAILED
STALE = nlm4_stats.NLM4_STALE_FH
RESERVED = 0x40000001  # the byte of a database that SQLite's writers lock
DENY_NONE, DENY_READ, DENY_WRITE = fsh4_mode.fsm_DN, fsh4_mode.fsm_DR, fsh4_mode.fsm_DW
READ, WRITE, BOTH = fsh4_access.fsa_R, fsh4_access.fsa_W, fsh4_access.fsa_RW


@pytest.fixture(scope="module")
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    return tree


@pytest.fixture
def client(tree: MemoryTree) -> Iterator[LockClient]:
    with serving(tree) as (_, port), LockClient(port) as client:
        yield client


@pytest.fixture
def fh(client: LockClient) -> bytes:
    return client.handle("maps/1.0.0/a.txt")


@pytest.mark.parametrize("name", ["LOCK", "NM_LOCK"])
@pytest.mark.parametrize("reclaim", [False, True])
def test_a_shared_lock_is_granted_and_an_exclusive_one_refused_as_read_only(
    client: LockClient, fh: bytes, name: str, reclaim: bool
) -> None:
    assert client.lock(fh, name, reclaim=reclaim) is GRANTED
    assert client.lock(fh, name, reclaim=reclaim, exclusive=True) is ROFS


def test_nobody_holds_what_sqlite_asks_after(client: LockClient, fh: bytes) -> None:
    found = client.lock_call("TEST", nlm4.nlm4_testargs(COOKIE, True, lock(fh, RESERVED, 1)))
    assert found == nlm4.nlm4_testres(COOKIE, GRANTED, None)


def test_what_was_never_kept_is_given_up_gladly(client: LockClient, fh: bytes) -> None:
    done = nlm4.nlm4_res(COOKIE, GRANTED)
    assert client.lock_call("UNLOCK", nlm4.nlm4_unlockargs(COOKIE, lock(fh))) == done
    assert client.lock_call("CANCEL", nlm4.nlm4_cancargs(COOKIE, True, True, lock(fh))) == done
    assert client.lock_call("FREE_ALL", nlm4.nlm4_notify(b"host", 5)) is None
    assert client.lock_call("NULL") is None


def test_a_lock_that_nobody_asked_for_is_not_taken(client: LockClient, fh: bytes) -> None:
    found = client.lock_call("GRANTED", nlm4.nlm4_testargs(COOKIE, False, lock(fh)))
    assert found == nlm4.nlm4_res(COOKIE, nlm4_stats.NLM4_DENIED)


@pytest.mark.parametrize(
    ("mode", "access", "stat"),
    [
        (DENY_NONE, READ, GRANTED),
        (DENY_WRITE, READ, GRANTED),
        (DENY_NONE, fsh4_access.fsa_NONE, GRANTED),
        (DENY_NONE, WRITE, ROFS),
        (DENY_NONE, BOTH, ROFS),
        (DENY_READ, READ, ROFS),
        (fsh4_mode.fsm_DRW, READ, ROFS),
    ],
)
def test_shares_for_reading_are_granted(
    client: LockClient, fh: bytes, mode: fsh4_mode, access: fsh4_access, stat: nlm4_stats
) -> None:
    assert client.share(fh, mode, access) is stat
    assert client.share(fh, mode, access, "UNSHARE") is GRANTED


@pytest.mark.parametrize("path", ["maps/1.0.0/sub", "maps/1.0.0/link", "maps", ""])
def test_only_files_can_be_locked(client: LockClient, path: str) -> None:
    fh = client.handle(path)
    assert client.lock(fh) is FAILED
    assert client.lock(fh, exclusive=True) is FAILED
    assert client.share(fh, DENY_NONE, READ) is FAILED
    assert client.lock_call("TEST", nlm4.nlm4_testargs(COOKIE, False, lock(fh))).stat is FAILED


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 64, b"x" * 1024])
def test_a_handle_that_was_never_given_out_is_stale(client: LockClient, damage: bytes) -> None:
    assert client.lock(damage) is STALE
    assert client.lock_call("TEST", nlm4.nlm4_testargs(COOKIE, False, lock(damage))).stat is STALE
    assert client.lock_call("UNLOCK", nlm4.nlm4_unlockargs(COOKIE, lock(damage))).stat is STALE
    assert client.share(damage, DENY_NONE, READ) is STALE
    assert client.share(damage, DENY_NONE, READ, "UNSHARE") is STALE


def test_a_state_that_is_gone_is_stale() -> None:
    tree = MemoryTree()
    tree.publish("gone", "1.0.0", {b"a": b"x"})
    with serving(tree) as (_, port), LockClient(port) as client:
        fh = client.handle("gone/1.0.0/a")
        assert client.lock(fh) is GRANTED
    tree.remove("gone")
    with serving(tree) as (_, port), LockClient(port) as client:
        assert client.lock(fh) is STALE


@pytest.mark.parametrize(
    ("l_offset", "l_len", "stat"),
    [
        (0, 0, GRANTED),
        ((1 << 64) - 1, 0, GRANTED),
        ((1 << 64) - 1, 1, GRANTED),
        (0, (1 << 64) - 1, GRANTED),
        ((1 << 64) - 1, 2, nlm4_stats.NLM4_FBIG),
        ((1 << 63), (1 << 63) + 1, nlm4_stats.NLM4_FBIG),
    ],
)
def test_ranges_end_where_64_bits_do(
    client: LockClient, fh: bytes, l_offset: int, l_len: int, stat: nlm4_stats
) -> None:
    assert client.lock(fh, l_offset=l_offset, l_len=l_len) is stat


def test_other_versions_are_a_mismatch_naming_4(client: LockClient) -> None:
    for vers in (1, 3, 5):
        assert client.raw(0, vers=vers) == prog_mismatch(7, NLM_V4, NLM_V4)[4:]


@pytest.mark.parametrize("proc", [*range(6, 20), 24])
def test_asynchronous_procedures_are_not_there(client: LockClient, proc: int) -> None:
    assert client.raw(proc) == refused(7, accept_stat.PROC_UNAVAIL)[4:]


def test_arguments_cut_short_are_garbage(client: LockClient) -> None:
    assert client.raw(NLM_NUMBERS["LOCK"], b"\0\0\0\1") == refused(7, accept_stat.GARBAGE_ARGS)[4:]
