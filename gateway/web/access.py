"""The access log: one line a request, as JSON or in the combined form that most log readers know.

Lines are gathered and written by a thread of its own, so that no request waits for a disk; when that cannot keep up,
lines are dropped, and how many is said. A file that was moved away (logrotate) is begun anew. Nothing that a client
sent can begin a new line. Threads: `note` may be called from any.
"""

import json
import os
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog

from dav.wire.dates import MONTHS
from gateway.hush import without_secrets
from gateway.web.listing import iso_time

COMBINED: Final = "combined"
JSON: Final = "json"
WAITING: Final = 50_000  # lines
EVERY_S: Final = 0.2
STDERR: Final = "-"
_HUSHED: Final = "/ui/login/callback"

_log = structlog.stdlib.get_logger("aetherfs.http")


class Accesses(Protocol):
    """What is told of every request."""

    def note(
        self, address: str, method: str, target: str, status: int, size: int, referer: str = "", agent: str = "",
        who: str = "",
    ) -> None: ...  # fmt: skip
    def close(self) -> None: ...


class Access(NamedTuple):
    """One request and its answer."""

    time_ns: int  # since 1970
    address: str
    method: str
    target: str
    status: int
    size: int  # bytes of the body that the head announced, or that were sent; -1: not known
    referer: str
    agent: str
    who: str = ""  # asked, as policies write it; empty: nobody was asked


class AccessLog:
    """Writes what was asked for to a file."""

    def __init__(self, path: str, form: str) -> None:
        """Open it.

        Args:
            path: where; `-`: standard error.
            form: COMBINED or JSON.

        Raises:
            OSError: the file cannot be written.
        """
        self._path, self._line = path, json_line if form == JSON else combined_line
        self._waiting: deque[Access] = deque()
        self._dropped = 0
        self._file = -1
        self._open()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()

    def note(
        self, address: str, method: str, target: str, status: int, size: int, referer: str = "", agent: str = "",
        who: str = "",
    ) -> None:  # fmt: skip
        """Have a line written soon."""
        target, referer = hushed(target), hushed(referer)
        if len(self._waiting) >= WAITING:
            self._dropped += 1
            return
        self._waiting.append(Access(time.time_ns(), address, method, target, status, size, referer, agent, who))

    def close(self) -> None:
        """Write what waits."""
        self._ending.set()
        self._thread.join()
        if self._path != STDERR and self._file >= 0:
            os.close(self._file)

    def _open(self) -> None:
        if self._path == STDERR:
            self._file = 2
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        coming = os.open(self._path, flags, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = coming

    def _write(self) -> None:
        while not self._ending.wait(EVERY_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        lines = []
        while self._waiting:
            lines.append(without_secrets(self._line(self._waiting.popleft())))
        try:
            if self._path != STDERR and not self._same():
                self._open()
            view = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            _log.warning("access log can't be written", path=self._path, why=str(error))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warning("access log could not keep up", lines_dropped=dropped)

    def _same(self) -> bool:
        """Tell whether the file at the path is the one that is open."""
        try:
            there, ours = Path(self._path).stat(), os.fstat(self._file)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def hushed(target: str) -> str:
    """Return a target as logs may have it: without what a login provider hands over."""
    path, mark, _ = target.partition("?")
    return path if mark and path.endswith(_HUSHED) else target


def combined_line(access: Access) -> str:
    """Return a line as Apache's "combined" has it."""
    at = datetime.fromtimestamp(access.time_ns // 1_000_000_000, UTC)
    day = f"{at.day:02}/{MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"
    request = f"{access.method} {access.target} HTTP/1.1"
    size = access.size if access.size >= 0 else "-"
    who = _quoted(access.who).replace(" ", "\\x20") or "-"
    asked = f'{access.address} - {who} [{day}] "{_quoted(request)}" {access.status} {size}'
    return f'{asked} "{_quoted(access.referer) or "-"}" "{_quoted(access.agent) or "-"}"\n'


def json_line(access: Access) -> str:
    """Return a JSON document on a line of its own."""
    told = {
        "time": iso_time(access.time_ns),
        "address": access.address,
        "method": access.method,
        "target": access.target,
        "status": access.status,
        "size": access.size if access.size >= 0 else None,
        "referer": access.referer,
        "agent": access.agent,
        "who": access.who,
    }
    return json.dumps(told) + "\n"


def _quoted(text: str) -> str:
    """Return text that ends no quotes and no line."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\x{ord(c) & 0xFF:02x}" for c in text)
