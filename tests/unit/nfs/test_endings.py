"""How connections, servers and what runs for them come to their ends, whatever happens meanwhile."""

import socket
import threading
import time

import pytest

from nfs.access import Access, Exports
from nfs.connection import Connection
from nfs.export import Export
from nfs.grants import OpenGrants, Peer
from nfs.limits import InFlight
from nfs.server import Limits, NfsServer
from nfs.wire import nfs3
from nfs.wire.nfs3types import nfsstat3
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, TIMEOUT_S, NfsClient, serving
from tests.support.trees import MemoryTree
from tests.support.until import wait_until


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    return tree


class Shared(socket.socket):
    """A listening socket whose first connection another process takes, after this one was told of it."""

    taken: socket.socket | None = None

    def accept(self) -> tuple[socket.socket, object]:
        if self.taken is None:
            self.taken = super().accept()[0]
        return super().accept()


def test_a_connection_that_another_process_takes_first_does_not_keep_a_server_from_its_end(tree: MemoryTree) -> None:
    with Shared(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = NfsServer(listener, tree, handle_key=KEY)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with NfsClient(listener.getsockname()[1]) as lost, NfsClient(listener.getsockname()[1]) as client:
            client.call("NULL")
            assert listener.taken is not None
            listener.taken.close()
            assert lost.receive() == b""
        listener.taken = None
        with NfsClient(listener.getsockname()[1]):
            while listener.taken is None:
                time.sleep(0.001)
            assert server.drain(TIMEOUT_S)
            listener.taken.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def test_draining_does_not_wait_for_a_store_whose_answers_nobody_wants_any_more(tree: MemoryTree) -> None:
    go = threading.Event()
    with serving(tree, limits=Limits(patience_s=0.1)) as (server, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")

        def wait(_operation: str) -> None:
            go.wait(2 * TIMEOUT_S)

        tree.cold, tree.on_blocking = True, wait
        assert client.call("READ", nfs3.READ3args(file, 0, 10)).status is nfsstat3.NFS3ERR_JUKEBOX
        assert server.drain(TIMEOUT_S)
        assert not go.is_set()
        go.set()


def test_a_connection_that_has_to_make_room_does_not_wait_for_its_calls(tree: MemoryTree) -> None:
    begun, go = threading.Semaphore(0), threading.Event()
    limits = Limits(connections=2, patience_s=4 * TIMEOUT_S)
    with serving(tree, limits=limits) as (_, port), NfsClient(port) as one, NfsClient(port) as two:
        file = one.handle("maps/1.0.0/a.txt")

        def wait(_operation: str) -> None:
            begun.release()
            go.wait(4 * TIMEOUT_S)

        tree.cold, tree.on_blocking = True, wait
        for client in (one, two):
            client.start("READ", nfs3.READ3args(file, 0, 10))
        assert all(begun.acquire(timeout=TIMEOUT_S) for _ in range(2))
        before = threads_of("nfs-127.0.0.1")
        with NfsClient(port, address="127.0.0.2") as new:
            new.call("NULL")
            wait_until(lambda: threads_of("nfs-127.0.0.1") < before)
            assert threads_of("nfs-127.0.0.1") == before - 1
        go.set()


def threads_of(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


class Late(socket.socket):
    """A socket whose shutdown comes a while after it was asked for."""

    asked, go, descriptor = threading.Event(), threading.Event(), 0

    def shutdown(self, how: int) -> None:
        self.asked.set()
        self.go.wait(TIMEOUT_S)
        self.descriptor = self.fileno()
        super().shutdown(how)


def test_a_descriptor_is_not_closed_while_another_thread_hangs_up(tree: MemoryTree) -> None:
    ours, theirs = socket.socketpair()
    sock, limits = Late(fileno=ours.detach()), Limits()
    access = Access(OpenGrants(tree), Exports(Export(tree, handle_key=KEY)), Peer("host"))
    in_flight = InFlight(limits.in_flight_bytes)
    connection = Connection(sock, access, lambda *_: None, limits, in_flight, lambda: None)
    serving_thread = threading.Thread(target=connection.serve)
    serving_thread.start()
    other = threading.Thread(target=lambda: connection.hang_up(at_once=True))
    other.start()
    assert sock.asked.wait(TIMEOUT_S)
    theirs.close()  # it ends by itself
    serving_thread.join(0.2)
    sock.go.set()
    for thread in (other, serving_thread):
        thread.join(TIMEOUT_S)
    assert sock.descriptor >= 0
    assert sock.fileno() == -1
