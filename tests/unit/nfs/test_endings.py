"""How connections, servers and what runs for them come to their ends, whatever happens meanwhile."""

import socket
import threading

import pytest

from nfs.server import NfsServer
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, TIMEOUT_S, NfsClient
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
                assert thread.is_alive()
            assert server.drain(TIMEOUT_S)
            listener.taken.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
