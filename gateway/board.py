"""What the workers of a gateway tell each other: short messages, passed on by the supervisor to all others.

A message is a kind and a text. It says something that makes the others safer or quicker, such as that a password was
wrong for somebody; where it is lost (nothing is waited for, nothing kept), they find out for themselves. Threads:
`tell` may be called from any; what is heard comes on a thread of the board's own.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

import structlog

LARGEST: Final = 512  # bytes of a message
TURN: Final = 256  # messages that are passed on before the supervisor looks at something else

_log = structlog.stdlib.get_logger("aetherfs.board")


class Board:
    """One worker's end."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """Take a datagram socket to the supervisor; without one, nobody hears anything."""
        self._socket = sock
        self._heard: dict[str, Callable[[str], None]] = {}
        if sock is not None:
            threading.Thread(target=self._listen, args=(sock,), name="board", daemon=True).start()

    def tell(self, kind: str, text: str) -> None:
        """Send a message to the other workers, if it can be done at once."""
        data = f"{kind} {text}".encode("utf-8", "replace")
        if self._socket is not None and len(data) <= LARGEST:
            with contextlib.suppress(OSError):
                self._socket.send(data, socket.MSG_DONTWAIT)

    def hear(self, kind: str, take: Callable[[str], None]) -> None:
        """Have `take` called with the text of each message of a kind that another worker sends."""
        self._heard[kind] = take

    def _listen(self, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(LARGEST)
            except OSError:
                return
            if not data:
                return
            kind, _, text = data.decode("utf-8", "replace").partition(" ")
            take = self._heard.get(kind)
            if take is None:
                continue
            try:
                take(text)
            except Exception as error:  # the thread's outermost shell: said, and the next one heard
                _log.error("message not understood", kind=kind, exc_info=error)


def pass_on(sender: socket.socket, others: list[socket.socket]) -> None:
    """Take what a worker has sent, and send it to the others; what one of them has no room for is lost to it."""
    for _ in range(TURN):
        try:
            data = sender.recv(LARGEST, socket.MSG_DONTWAIT)
        except OSError:  # no more, or it has ended
            return
        if not data:
            return
        for other in others:
            with contextlib.suppress(OSError):
                other.send(data, socket.MSG_DONTWAIT)


_process: Board = Board()


def join(descriptor: int) -> None:
    """Have this process listen on an inherited socket. Called once, before `board`."""
    global _process
    os.set_inheritable(descriptor, False)
    _process = Board(socket.socket(fileno=descriptor))


def board() -> Board:
    """Return this process's board."""
    return _process
