"""One worker process: `python -P -m gateway.worker`, started by the supervisor and by nobody else.

Standard input is the control pipe: first one line, the order (JSON); its end means that the supervisor is gone. The
order names the inherited sockets and a status pipe, on which one line is written: ready, or why not.

Threads: the server runs in a thread of its own; the main thread waits for SIGTERM, for the control pipe's end and for
the server's own end.
"""

import importlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, ConfigDict

from gateway import board, logs
from gateway.config import ConfigError, Settings
from gateway.exits import OTHER, exit_code
from gateway.lifecycle import ServeError, Server, Signals, allow_descriptors, die_with_parent
from store.errors import StoreError

SWITCH_INTERVAL_S: Final = 0.0002  # how long a busy Python thread may keep the others waiting
LARGEST_ORDER: Final = 1 << 20  # bytes; settings are a few KiB
CONTROL_FD: Final = 0

Build = Callable[..., Server]  # of the settings and each inherited socket


class Order(BaseModel):
    """What a worker is told: everything it needs, and nothing of it on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str  # such as "nfs-0", for logs
    entry: str  # "module:function", a `Build`
    listener_fds: tuple[int, ...]
    status_fd: int
    board_fd: int = -1  # to the other workers; -1: there is none
    drain_s: float
    log_level: int
    settings: Settings


class Status(BaseModel):
    """What a worker answers, once."""

    ready: bool
    failure: str = ""  # finished message
    exit_code: int = 0


def main() -> None:
    """Run the worker that standard input describes; never returns."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches the supervisor, which decides
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    allow_descriptors()
    line = _read_line(CONTROL_FD)
    if not line:
        os._exit(OTHER)
    order = Order.model_validate_json(line)
    logs.set_up(order.log_level)
    if order.board_fd >= 0:
        board.join(order.board_fd)
    code = run(order)
    logging.shutdown()
    os._exit(code)  # whatever threads a library left must not hold the process


def run(order: Order) -> int:
    """Build the server, report, serve until told otherwise; return the exit code."""
    log = logging.getLogger(f"gateway.worker.{order.name}")
    listeners = [socket.socket(fileno=fd) for fd in order.listener_fds]
    try:
        server = _build(order.entry)(order.settings, *listeners)
    except (StoreError, ConfigError, ServeError) as error:
        _report(order.status_fd, Status(ready=False, failure=str(error), exit_code=exit_code(error)))
        return exit_code(error)
    except Exception as error:  # the process's outermost shell: logged once, and the supervisor told
        log.exception("could not start")
        _report(order.status_fd, Status(ready=False, failure=f"{type(error).__name__}: {error}", exit_code=OTHER))
        return OTHER
    ended, end = socket.socketpair()
    broken = threading.Event()

    def serve() -> None:
        try:
            server.serve_forever()
        except Exception:  # as above
            log.exception("the server broke")
            broken.set()
        end.close()

    with Signals([signal.SIGTERM]) as signals, selectors.DefaultSelector() as selector:
        for source in (signals, ended, CONTROL_FD):
            selector.register(source, selectors.EVENT_READ)
        threading.Thread(target=serve, name=f"{order.name}-serve", daemon=True).start()
        _report(order.status_fd, Status(ready=True))
        woken = {key.fileobj for key, _ in selector.select()}
        if CONTROL_FD in woken:
            log.warning("the supervisor is gone")
            return OTHER
        if ended in woken:
            return OTHER if broken.is_set() else 0
        server.drain(order.drain_s)
    return 0


def _build(entry: str) -> Build:
    module, _, function = entry.partition(":")
    build: Build = getattr(importlib.import_module(module), function)
    return build


def _report(status_fd: int, status: Status) -> None:
    os.write(status_fd, json.dumps(status.model_dump()).encode() + b"\n")


def _read_line(descriptor: int) -> bytes:
    parts = bytearray()
    while not parts.endswith(b"\n"):
        part = os.read(descriptor, 65536)
        if not part or len(parts) > LARGEST_ORDER:
            return b""
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
