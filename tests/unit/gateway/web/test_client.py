"""What a client that takes nothing keeps in memory."""

import socket
from collections.abc import Iterator

import pytest

from dav.reply import Buffer
from gateway.web.client import Client, beyond


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def owed(sock: socket.socket, moved_s: float, *buffers: Buffer) -> Client:
    client = Client(sock, "192.0.2.1", 1, moved_s)
    client.out.extend(buffers)
    return client


def test_who_took_nothing_for_longest_goes_first(sock: socket.socket) -> None:
    early, middle, late = (owed(sock, at_s, bytes(100 + at_s)) for at_s in (1, 2, 3))
    assert beyond([early, late, middle], 400) == []
    assert beyond([early, late, middle], 300) == [early]
    assert beyond([early, late, middle], 50) == [late, middle, early]


def test_a_view_counts_as_what_it_keeps_and_what_is_shared_counts_once(sock: socket.socket) -> None:
    chunk = bytes(1000)
    clients = [owed(sock, at_s, b"head", memoryview(chunk)[at_s : at_s + 10]) for at_s in range(50)]
    assert beyond(clients, 1100) == []
    assert len(beyond(clients, 999)) == 50


def test_who_is_owed_little_stays_beside_who_is_owed_much(sock: socket.socket) -> None:
    much, little = owed(sock, 2, bytes(1000)), owed(sock, 1, bytes(10))
    assert beyond([much, little], 500) == [much]
