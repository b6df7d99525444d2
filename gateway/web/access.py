"""The access log: one line a request, as JSON or in the combined form that most log readers know.

Lines are gathered and written by a thread of its own, so that no request waits for a disk; when that cannot keep up,
lines are dropped, and how many is said. The file is shared (`gateway.log_file`). Nothing that a client sent can begin a
new line. Threads: `note` may be called from any.
"""

import json
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import structlog

from dav.wire.dates import MONTHS
from gateway.hush import without_secrets
from gateway.log_file import LogFile
from gateway.web.listing import iso_time

COMBINED: Final = "combined"
JSON: Final = "json"
WAITING: Final = 50_000  # lines
EVERY_S: Final = 0.2
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
        self._file, self._line = LogFile(path, 0o640), json_line if form == JSON else combined_line
        self._waiting: deque[Access] = deque()
        self._dropped = 0
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
        self._file.close()

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
            self._file.add("".join(lines).encode("utf-8", "backslashreplace"))
        except OSError as error:
            _log.warning("access log can't be written", path=self._file.path, why=str(error))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warning("access log could not keep up", lines_dropped=dropped)


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
