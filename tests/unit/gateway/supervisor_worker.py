"""A worker kind for tests: an echo server on the inherited socket, which obeys a few words.

`pid` answers the process id, `heard` what other workers told, `tell X` tells them X, `hold` keeps the answer back until
the server is drained, `die` ends the process.
"""

import os
import socket
import sys
import threading
from pathlib import Path

from gateway.board import board
from gateway.config import Settings
from store.errors import StoreUnavailable


class EchoServer:
    """Answers one line per connection."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._drained = listener, threading.Event()
        self._busy: list[threading.Thread] = []
        self._heard: list[str] = []
        board().hear("word", self._heard.append)

    def serve_forever(self) -> None:
        while not self._drained.is_set():
            peer, _ = self._listener.accept()
            thread = threading.Thread(target=self._answer, args=(peer,), daemon=True)
            self._busy.append(thread)
            thread.start()

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            word = peer.recv(100).decode()
            if word == "die":
                os._exit(9)
            if word.startswith("tell "):
                board().tell("word", word[5:])
                board().tell("other", "not for those who hear words")
            if word == "heard":
                peer.sendall(f"{os.getpid()} {','.join(self._heard)}".encode())
                return
            if word == "hold":
                peer.sendall(b"held ")
                self._drained.wait()
            peer.sendall(f"{os.getpid()} {os.getppid()} {sys.getswitchinterval()}".encode())

    def drain(self, timeout_s: float) -> None:
        self._drained.set()
        for thread in self._busy:
            thread.join(timeout_s)


def echo(settings: Settings, listener: socket.socket) -> EchoServer:
    return EchoServer(listener)


def stuck(settings: Settings, listener: socket.socket) -> EchoServer:
    """Build a server whose requests never finish."""
    server = EchoServer(listener)
    server.drain = lambda timeout_s: threading.Event().wait()  # type: ignore[method-assign, assignment]  # one that misbehaves
    return server


def unreachable(settings: Settings, listener: socket.socket) -> EchoServer:
    raise StoreUnavailable("s3://bucket", "no answer")


def silent(settings: Settings, listener: socket.socket) -> EchoServer:
    threading.Event().wait()
    return EchoServer(listener)


def broken(settings: Settings, listener: socket.socket) -> EchoServer:
    raise RuntimeError("a mistake of ours")


def once(settings: Settings, listener: socket.socket) -> EchoServer:
    """Build a server, but fail at the second and third attempt: counts in a file in the cache's folder."""
    count = Path(settings.cache.dir) / "count"
    attempt = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(attempt))
    if attempt in (2, 3):
        raise StoreUnavailable("s3://bucket", "no answer")
    return EchoServer(listener)
