"""A TCP proxy that makes a near server look far: a round trip costs `--delay-ms`, a connection carries `--mb-s`.

Half of the delay is spent in each direction, and each direction of each connection has the rate for itself. What is
under way is bounded, as on a real line, to what rate and delay allow and 1 MiB of buffer; beyond that the sender waits.
Three threads a connection. Prints `ready HOST:PORT` once it listens; ends on SIGTERM.

    python -m bench.delay --to 127.0.0.1:8333 --delay-ms 20 --mb-s 100
"""

import argparse
import contextlib
import queue
import socket
import threading
import time

PIECE = 64 << 10  # bytes read at a time
BUFFER = 1 << 20  # bytes beyond what rate and delay keep under way


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=20.0, help="of a round trip")
    parser.add_argument("--mb-s", type=float, default=100.0, help="of each connection, in each direction")
    given = parser.parse_args()
    listener = socket.create_server(_address(given.listen), backlog=256)
    host, port = listener.getsockname()[:2]
    print(f"ready {host}:{port}", flush=True)
    while True:
        near, _ = listener.accept()
        serve = threading.Thread(
            target=_serve, args=(near, _address(given.to), given.delay_ms / 2000, given.mb_s * 1e6), daemon=True
        )
        serve.start()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _serve(near: socket.socket, to: tuple[str, int], one_way_s: float, rate: float) -> None:
    try:
        far = socket.create_connection(to)
    except OSError:
        near.close()
        return
    with near, far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            threading.Thread(target=_carry, args=(a, b, one_way_s, rate), daemon=True)
            for a, b in ((near, far), (far, near))
        ]
        for line in lines:
            line.start()
        for line in lines:
            line.join()


def _carry(source: socket.socket, target: socket.socket, one_way_s: float, rate: float) -> None:
    """Carry one direction until it ends."""
    pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(int((one_way_s * rate + BUFFER) / PIECE) + 1)
    reader = threading.Thread(target=_read, args=(source, pieces, one_way_s, rate), daemon=True)
    reader.start()
    broken = False
    while True:
        due, piece = pieces.get()
        if not piece:
            break
        pause_s = due - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        if not broken:
            try:
                target.sendall(piece)
            except OSError:
                broken = True
                _end(source, socket.SHUT_RD)
    _end(target, socket.SHUT_WR)
    reader.join()


def _read(source: socket.socket, pieces: "queue.Queue[tuple[float, bytes]]", one_way_s: float, rate: float) -> None:
    """Read one direction, and say of each piece when it is due at the other end."""
    free = 0.0  # when the line has carried all that was read before
    while True:
        try:
            piece = source.recv(PIECE)
        except OSError:
            piece = b""
        free = max(free, time.monotonic()) + len(piece) / rate
        pieces.put((free + one_way_s, piece))
        if not piece:
            return


def _end(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(how)


if __name__ == "__main__":
    main()
