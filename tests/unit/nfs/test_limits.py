"""What a slow store, a slow client or a hostile one costs the others: nothing."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from nfs.export import Export
from nfs.fhandle import WHOLE_TREE
from nfs.limits import InFlight, Limits
from nfs.pool import FairPool
from nfs.seldom import Seldom
from nfs.server import NfsServer
from nfs.wire import nfs3
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3, diropargs3, nfsstat3
from nfs.wire.nlm4 import nlm4_stats
from nfs.wire.record import marked
from nfs.wire.rpc import encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.lock_client import LockClient
from tests.support.nfs_client import KEY, TIMEOUT_S, USER, NfsClient, decode_reply, serving
from tests.support.trees import MemoryTree, resolve
from tests.support.until import wait_until

S = nfsstat3
PATIENCE_S = 0.2


class Gate:
    """Holds up every blocking call of a tree until it is opened."""

    def __init__(self, tree: MemoryTree) -> None:
        self.began = threading.Semaphore(0)
        self._open = threading.Event()
        tree.on_blocking = self._wait

    def _wait(self, _operation: str) -> None:
        self.began.release()
        assert self._open.wait(TIMEOUT_S)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("large", "1.0.0", {b"f": bytes(1 << 20)})
    return tree


@pytest.fixture
def gate(tree: MemoryTree) -> Iterator[Gate]:
    gate = Gate(tree)
    gate.open()  # until a test shuts it
    yield gate
    gate.open()


def shut(tree: MemoryTree) -> Gate:
    tree.cold = True
    return Gate(tree)


def numbered(reply: bytes) -> int:
    return int.from_bytes(reply[:4], "big")


def persistently(ask: Callable[[], Any], come_again: object) -> Any:
    """Ask until the answer is another than to come again, as clients do: a busy machine may not keep its patience."""
    until_s = time.monotonic() + 2 * TIMEOUT_S
    while (found := ask()) is come_again:
        assert time.monotonic() < until_s
    return found


def rest(server: NfsServer) -> None:
    """Wait until all that was sent is noted: a server may note only after its reply when it heard of a client."""
    wait_until(lambda: not any(connection.stalled_s() for connection in server._open()))


# A store that does not answer


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("READ", lambda file, folder: nfs3.READ3args(file, 0, 10)),
        ("LOOKUP", lambda file, folder: nfs3.LOOKUP3args(diropargs3(folder, b"run.sh"))),
        ("READDIRPLUS", lambda file, folder: nfs3.READDIRPLUS3args(folder, 0, bytes(8), 4096, 4096)),
    ],
)
def test_a_call_that_takes_too_long_is_told_to_come_again_and_then_answered(
    tree: MemoryTree, name: str, args: object
) -> None:
    with serving(tree, limits=Limits(patience_s=PATIENCE_S)) as (_, port), NfsClient(port) as client:
        file, folder = client.handle("maps/1.0.0/a.txt"), client.handle("maps/1.0.0")
        gate = shut(tree)
        began_s = time.monotonic()
        assert client.call(name, args(file, folder)).status is S.NFS3ERR_JUKEBOX  # type: ignore[operator]
        assert time.monotonic() - began_s >= PATIENCE_S
        gate.open()
        again = persistently(lambda: client.call(name, args(file, folder)).status, S.NFS3ERR_JUKEBOX)  # type: ignore[operator]
        assert again is S.NFS3_OK


def test_mount_says_in_its_own_words_that_the_store_takes_too_long(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(patience_s=PATIENCE_S)) as (_, port), NfsClient(port) as client:
        gate = shut(tree)
        assert client.mount("MNT", b"/maps").fhs_status is mountstat3.MNT3ERR_SERVERFAULT
        gate.open()
        again = persistently(lambda: client.mount("MNT", b"/maps").fhs_status, mountstat3.MNT3ERR_SERVERFAULT)
        assert again is mountstat3.MNT3_OK


def test_a_lock_that_takes_too_long_is_asked_for_again_as_after_a_restart(tree: MemoryTree) -> None:
    fh = Export(tree, handle_key=KEY).outward(resolve(tree, "maps/1.0.0/a.txt"), WHOLE_TREE)[0]
    with serving(tree, limits=Limits(patience_s=PATIENCE_S)) as (_, port), LockClient(port) as client:
        gate = shut(tree)
        assert client.lock(fh) is nlm4_stats.NLM4_DENIED_GRACE_PERIOD
        gate.open()
        assert persistently(lambda: client.lock(fh), nlm4_stats.NLM4_DENIED_GRACE_PERIOD) is nlm4_stats.NLM4_GRANTED


def test_an_answer_that_comes_too_late_is_not_sent_besides(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(patience_s=PATIENCE_S)) as (_, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
        gate = shut(tree)
        late = client.start("READ", nfs3.READ3args(file, 0, 10))
        assert numbered(client.receive()) == late
        gate.open()
        asked = client.start("READ", nfs3.READ3args(file, 0, 10))
        assert numbered(client.receive()) == asked
        client.call("NULL")


def test_calls_that_never_began_are_told_to_come_again_too_and_are_not_run(tree: MemoryTree) -> None:
    limits = Limits(patience_s=PATIENCE_S, pool_threads=1, pending_calls=2)
    with serving(tree, limits=limits) as (_, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/big.bin")
        gate = shut(tree)
        tree.blocking_calls.clear()
        xids = {client.start("READ", nfs3.READ3args(file, i, 1)) for i in range(10)}
        replies = [client.receive() for _ in xids]
        assert {numbered(reply) for reply in replies} == xids
        assert {decode_reply("READ", reply).status for reply in replies} == {S.NFS3ERR_JUKEBOX}
        gate.open()
        asked: list[Any] = []

        def ask() -> nfsstat3:
            asked.append(client.call("READ", nfs3.READ3args(file, 0, 5)))
            return asked[-1].status  # type: ignore[no-any-return]

        assert persistently(ask, S.NFS3ERR_JUKEBOX) is S.NFS3_OK
        assert b"".join(asked[-1].resok.data) == BIG[:5]
        assert tree.blocking_calls["read"] <= 1 + len(asked)


def test_a_warm_call_is_not_held_up_by_any_number_of_cold_ones(tree: MemoryTree) -> None:
    limits = Limits(pending_calls=4, waiting_calls=20, pool_threads=2)
    with serving(tree, limits=limits) as (_, port), NfsClient(port) as client:
        file, folder = client.handle("maps/1.0.0/big.bin"), client.handle("maps/1.0.0")
        client.attributes(folder)
        gate = shut(tree)
        cold = [client.start("READ", nfs3.READ3args(file, i, 1)) for i in range(100)]
        warm = client.start("GETATTR", nfs3.GETATTR3args(folder))
        replies: dict[int, bytes] = {}
        while warm not in replies:
            reply = client.receive()
            replies[numbered(reply)] = reply
        refused = [xid for xid in cold if xid in replies]
        assert len(refused) >= 100 - 4 - 20 - 4  # those beyond what may wait; the loop begins some while it receives
        assert {decode_reply("READ", replies[xid]).status for xid in refused} == {S.NFS3ERR_JUKEBOX}
        gate.open()
        while len(replies) < 101:
            reply = client.receive()
            replies[numbered(reply)] = reply
        assert set(replies) == {*cold, warm}


def test_one_clients_cold_calls_do_not_hold_up_anothers(tree: MemoryTree) -> None:
    with serving(tree) as (_, port), NfsClient(port) as client, NfsClient(port, address="127.0.0.2") as other:
        file = client.handle("maps/1.0.0/big.bin")
        gate = shut(tree)
        cold = [client.start("READ", nfs3.READ3args(file, i, 1)) for i in range(64)]
        for _ in range(12):  # three quarters of the threads
            assert gate.began.acquire(timeout=TIMEOUT_S)
        asked = other.start("READ", nfs3.READ3args(file, 0, 1))
        assert gate.began.acquire(timeout=TIMEOUT_S)
        gate.open()
        assert numbered(other.receive()) == asked
        assert {numbered(client.receive()) for _ in cold} == set(cold)


# Clients that do not do their part


@pytest.mark.parametrize("start", [b"\x80", b"\x80\0\0\x40only a part of it", b"\0\0\0\4part"])
def test_a_record_that_does_not_end_ends_the_connection(tree: MemoryTree, start: bytes) -> None:
    with serving(tree, limits=Limits(record_s=0.2)) as (_, port), NfsClient(port) as client:
        client.call("NULL")
        client.sock.sendall(start)
        assert client.receive() == b""


def test_a_record_that_comes_in_drops_ends_the_connection(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(record_s=0.3)) as (_, port), NfsClient(port) as client:
        client.call("NULL")
        began_s = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sock.sendall(b"\x80\0\xff\xff")
            while time.monotonic() - began_s < TIMEOUT_S:
                client.sock.sendall(b"x")
                time.sleep(0.02)
        assert 0.3 <= time.monotonic() - began_s < TIMEOUT_S


def test_silence_between_records_is_no_fault(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(record_s=0.1)) as (_, port), NfsClient(port) as client:
        client.call("NULL")
        time.sleep(0.35)
        client.call("NULL")


def test_a_stalled_client_goes_once_too_many_bytes_are_in_flight(tree: MemoryTree) -> None:
    limits = Limits(in_flight_bytes=8 << 20, stalled_s=0.2)
    with serving(tree, limits=limits) as (server, port), NfsClient(port) as client, contextlib.ExitStack() as stack:
        file = client.handle("large/1.0.0/f")
        args = encode_whole(nfs3.READ3[0], nfs3.READ3args(file, 0, 1 << 20))
        calls = b"".join(marked(encode_call(xid, NFS_PROGRAM, NFS_V3, 6, args, USER)) for xid in range(40))
        for _ in range(4):
            greedy = stack.enter_context(NfsClient(port))
            greedy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.sock.sendall(calls)  # the first one's answers alone are more than may be in flight
        deadline_s = time.monotonic() + TIMEOUT_S
        while server.connections < 5:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        while server.connections == 5 and time.monotonic() < deadline_s:
            assert client.read(file, 0, 1 << 20) == (bytes(1 << 20), True)
        assert server.connections < 5
        client.call("NULL")


def test_a_slow_client_is_left_alone_while_few_bytes_are_in_flight(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(stalled_s=0.0)) as (_, port), NfsClient(port) as slow, NfsClient(port) as client:
        file = client.handle("large/1.0.0/f")
        xids = [slow.start("READ", nfs3.READ3args(file, 0, 1 << 20)) for _ in range(20)]
        for _ in range(20):
            client.read(file, 0, 1 << 20)
        assert [numbered(slow.receive()) for _ in xids] == xids


# Connections


def test_an_address_with_many_connections_gives_way_to_another(tree: MemoryTree) -> None:
    with (
        serving(tree, limits=Limits(connections=4)) as (server, port),
        contextlib.ExitStack() as stack,
    ):
        many = [stack.enter_context(NfsClient(port)) for _ in range(4)]
        for one in many:
            one.call("NULL")
            rest(server)
        with NfsClient(port, address="127.0.0.2") as other:
            other.call("NULL")
            assert server.connections == 4
            assert many[0].receive() == b""  # it was silent for longest
            many[3].call("NULL")
            with NfsClient(port) as refused:
                assert refused.receive() == b""
            other.call("NULL")
            with NfsClient(port, address="127.0.0.3") as third:
                third.call("NULL")
                other.call("NULL")


def downloading(client: NfsClient, file: bytes) -> tuple[threading.Thread, threading.Event]:
    """Ask for 32 MiB, and take them at 2.5 MB/s on a thread until the event is set."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    args = encode_whole(nfs3.READ3[0], nfs3.READ3args(file, 0, 1 << 20))
    client.sock.sendall(marked(encode_call(1, NFS_PROGRAM, NFS_V3, 6, args, USER)) * 32)
    enough = threading.Event()

    def take() -> None:
        while not enough.wait(0.05):
            assert client.sock.recv(131072)

    thread = threading.Thread(target=take)
    thread.start()
    return thread, enough


@pytest.mark.slow
def test_a_client_that_takes_its_replies_slowly_stays_however_many_bytes_are_in_flight(tree: MemoryTree) -> None:
    limits = Limits(in_flight_bytes=8 << 20, stalled_s=2.5)
    with serving(tree, limits=limits) as (server, port), NfsClient(port) as slow, NfsClient(port) as client:
        file = client.handle("large/1.0.0/f")
        thread, enough = downloading(slow, file)
        until_s = time.monotonic() + 2 * limits.stalled_s
        while time.monotonic() < until_s:
            client.read(file, 0, 1 << 20)
            time.sleep(0.02)
        assert server.connections == 2
        enough.set()
        thread.join()


def test_who_is_taking_replies_does_not_make_room_as_a_silent_one_does(tree: MemoryTree) -> None:
    limits = Limits(connections=2, idle_s=0.0)
    with serving(tree, limits=limits) as (server, port), NfsClient(port) as slow, NfsClient(port) as silent:
        file = slow.handle("large/1.0.0/f")
        silent.call("NULL")
        taking, quiet = server._open()
        thread, enough = downloading(slow, file)
        silent.call("NULL")
        wait_until(lambda: not quiet.stalled_s())
        wait_until(lambda: taking.idle_since_s() > quiet.idle_since_s())
        with NfsClient(port) as new:
            new.call("NULL")
            assert silent.receive() == b""
        enough.set()
        thread.join()


def test_a_limit_that_is_reached_by_nobody_any_more_refuses_nobody(tree: MemoryTree) -> None:
    with serving(tree, limits=Limits(connections=0)) as (_, port), NfsClient(port) as client:
        client.call("NULL")


def test_clients_that_are_refused_do_not_fill_the_log(tree: MemoryTree) -> None:
    limits = Limits(connections=1)
    with capture_logs() as lines, serving(tree, limits=limits) as (_, port), NfsClient(port) as client:
        client.call("NULL")
        for _ in range(200):
            with NfsClient(port) as refused:
                assert refused.receive() == b""
    assert 0 < len(lines) <= 40  # 20 at once, and as many again each ten seconds


def test_a_mistake_of_ours_that_a_client_can_provoke_does_not_fill_the_log(tree: MemoryTree) -> None:
    def fail(_operation: str) -> None:
        raise ValueError("nobody foresaw this")

    with capture_logs() as lines, serving(tree) as (_, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
        tree.cold, tree.on_blocking = True, fail
        for _ in range(200):
            assert client.call("READ", nfs3.READ3args(file, 0, 10)).status is S.NFS3ERR_SERVERFAULT
    assert len(lines) <= 40


# Parts


def test_the_pool_takes_owners_in_turn_and_gives_none_more_than_its_share() -> None:
    pool = FairPool(4, name="test")
    order: list[bytes] = []
    go, running = threading.Event(), threading.Semaphore(0)

    def job(owner: bytes) -> None:
        order.append(owner)
        running.release()
        go.wait(TIMEOUT_S)
        time.sleep(0.01)

    for _ in range(10):
        pool.submit(b"a", lambda: job(b"a"))
    for _ in range(3):
        assert running.acquire(timeout=TIMEOUT_S)
    assert not running.acquire(timeout=0.05)  # the fourth thread is not for the same owner
    pool.submit(b"b", lambda: job(b"b"))
    assert running.acquire(timeout=TIMEOUT_S)
    pool.submit(b"b", lambda: job(b"b"))
    go.set()
    for _ in range(8):
        assert running.acquire(timeout=TIMEOUT_S)
    pool.close(TIMEOUT_S)
    assert order.count(b"a") == 10
    assert max(i for i, owner in enumerate(order) if owner == b"b") < 8  # not behind all of the other's


def test_a_job_that_fails_costs_the_pool_no_thread() -> None:
    pool = FairPool(1, name="test")
    done = threading.Event()

    def fail() -> None:
        raise ValueError("on purpose")

    pool.submit(b"a", fail)
    pool.submit(b"a", done.set)
    assert done.wait(TIMEOUT_S)
    pool.close(TIMEOUT_S)
    pool.submit(b"a", fail)  # dropped


def test_a_pool_that_cannot_start_threads_for_a_while_runs_its_jobs_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = FairPool(1, name="test")
    jobs = [threading.Event() for _ in range(4)]
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        for job in jobs[:3]:
            pool.submit(b"a", job.set)
    pool.submit(b"a", jobs[3].set)
    assert all(job.wait(TIMEOUT_S) for job in jobs)
    pool.close(TIMEOUT_S)


def test_bytes_in_flight_are_too_many_from_the_limit_on() -> None:
    counted = InFlight(10)
    counted.add(9)
    assert not counted.full
    counted.add(1)
    assert counted.full
    counted.add(-5)
    assert not counted.full


def test_lines_beyond_a_few_are_left_out_and_counted() -> None:
    now_s = 7.0
    seldom = Seldom(2, 10.0, clock=lambda: now_s)
    assert [seldom.ask() for _ in range(4)] == [0, 0, None, None]
    now_s += 10.0
    assert seldom.ask() == 2
    assert seldom.ask() == 0
