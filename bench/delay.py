"""A TCP proxy that makes a near server look far: a round trip costs `--delay-ms`, and carries one window a connection.

Half of the delay is spent in each direction. In each direction of each connection at most `--window-kib` are under
way, as with TCP on a long line: what arrives is acknowledged, and the acknowledgement takes its half too. So 64 KiB and
20 ms make 3.3 MB/s a connection. A new connection first costs a round trip for its handshake. There is no loss and no
slow start, and connections do not share a line. One thread, which reads as much at a time as the window has room for.

With `--log`, every HTTP/1.1 request that passes becomes a line of JSON, once the connection's next one begins or it
ends: `start` and `end` in s as the client saw them (on the monotonic clock), `connection`, `method`, `path`, `range`,
`sent` and `received` bytes. Prints `ready HOST:PORT` once it listens; ends on SIGTERM.

    python -m bench.delay --to 127.0.0.1:8333 --delay-ms 20 --window-kib 64
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MOST = 1 << 20  # bytes read at a time, however wide the window
REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
RANGE = re.compile(rb"\r\nrange: *([^\r]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """What each connection gets."""

    one_way_s: float
    window: int  # bytes under way in each direction


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=20.0, help="of a round trip")
    parser.add_argument("--window-kib", type=int, default=64, help="of each connection, in each direction")
    parser.add_argument("--log", type=Path, help="write a line for each HTTP request here")
    given = parser.parse_args()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(given))


async def _serve(given: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None
    loop.add_signal_handler(signal.SIGTERM, this.cancel)
    line = Line(given.delay_ms / 2000, given.window_kib << 10)
    listener = socket.create_server(_address(given.listen), backlog=256)
    listener.setblocking(False)
    host, port = listener.getsockname()[:2]
    print(f"ready {host}:{port}", flush=True)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(given.log.open("w", encoding="utf-8")) if given.log else None
        tasks = set()  # asyncio itself holds them weakly
        for number in itertools.count():
            near, _ = await loop.sock_accept(listener)
            task = loop.create_task(_connect(near, _address(given.to), line, Requests(number, log)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


class Requests:
    """Writes what passes one connection, request by request."""

    def __init__(self, connection: int, log: TextIO | None) -> None:
        self._connection, self._log = connection, log
        self._now: dict[str, object] = {}
        self._sent = self._received = 0
        self._end = 0.0

    def up(self, piece: bytes, at: float) -> None:
        """Note a piece from the client."""
        found = REQUEST.match(piece) if self._log else None
        if found:
            self.finish()
            ranged = RANGE.search(piece[:8192])
            self._now = {
                "start": round(at, 4), "connection": self._connection, "method": found[1].decode(),
                "path": found[2].decode("latin-1"), "range": ranged[1].decode() if ranged else "",
            }  # fmt: skip
        self._sent += len(piece)

    def down(self, piece: bytes, at: float) -> None:
        """Note a piece that has reached the client."""
        self._received += len(piece)
        self._end = at

    def finish(self) -> None:
        """Write the request that was under way, if there was one."""
        if self._log and self._now:
            more = {"end": round(self._end, 4), "sent": self._sent, "received": self._received}
            self._log.write(json.dumps(self._now | more) + "\n")
            self._log.flush()
        self._now, self._sent, self._received = {}, 0, 0


async def _connect(near: socket.socket, to: tuple[str, int], line: Line, requests: Requests) -> None:
    loop = asyncio.get_running_loop()
    open_at = loop.time() + 2 * line.one_way_s
    with near, socket.socket() as far:
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            await loop.sock_connect(far, to)
            up = Direction(near, far, line, open_at=open_at, read=requests.up)
            down = Direction(far, near, line, delivered=requests.down)
            await asyncio.gather(up.carry(), down.carry())
    requests.finish()


Note = Callable[[bytes, float], None]  # a piece, and when


def _ignore(piece: bytes, at: float) -> None:
    pass


class Direction:
    """One direction of a connection."""

    def __init__(
        self, source: socket.socket, target: socket.socket, line: Line, *, open_at: float = 0.0,
        read: Note = _ignore, delivered: Note = _ignore,
    ) -> None:  # fmt: skip
        self._source, self._target, self._line = source, target, line
        self._open_at, self._read, self._delivered = open_at, read, delivered
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._free = line.window
        self._room = asyncio.Event()

    async def carry(self) -> None:
        """Carry all bytes until an end closes it or breaks."""
        await asyncio.gather(self._take(), self._deliver())

    async def _take(self) -> None:
        loop, line = asyncio.get_running_loop(), self._line
        piece = b"."
        while piece:
            while self._free < line.window // 4:  # no reading by a few bytes: TCP too avoids the "silly window"
                self._room.clear()
                await self._room.wait()
            try:
                piece = await loop.sock_recv(self._source, min(self._free, MOST))
            except OSError:
                piece = b""
            now = loop.time()
            self._read(piece, now)
            self._free -= len(piece)
            self._under_way.put_nowait((max(now, self._open_at) + line.one_way_s, piece))

    async def _deliver(self) -> None:
        loop, line = asyncio.get_running_loop(), self._line
        broken = False
        while True:
            due, piece = await self._under_way.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            if not broken:
                try:
                    await loop.sock_sendall(self._target, piece)
                except OSError:
                    broken = True
                    _end(self._source, socket.SHUT_RD)
            self._delivered(piece, loop.time())
            loop.call_at(max(due, loop.time()) + line.one_way_s, self._acknowledge, len(piece))
        _end(self._target, socket.SHUT_WR)

    def _acknowledge(self, count: int) -> None:
        self._free += count
        self._room.set()


def _end(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(how)


if __name__ == "__main__":
    main()
