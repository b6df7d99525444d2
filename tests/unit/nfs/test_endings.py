"""How connections, servers and what runs for them come to their ends, whatever happens meanwhile."""

import socket
import threading
import time

import pytest

from nfs.server import Limits, NfsServer
from nfs.wire import nfs3
from nfs.wire.nfs3types import nfsstat3
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, TIMEOUT_S, NfsClient, serving
from tests.support.trees import MemoryTree


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
            go.wait(TIMEOUT_S)

        tree.cold, tree.on_blocking = True, wait
        assert client.call("READ", nfs3.READ3args(file, 0, 10)).status is nfsstat3.NFS3ERR_JUKEBOX
        began_s = time.monotonic()
        assert server.drain(5)
        assert time.monotonic() - began_s < 5
        go.set()
