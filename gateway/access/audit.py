"""The audit log: one line of JSON for each login, refusal, publish, move, deletion, change of tokens and policy.

    {"time": "2026-11-26T02:00:00.123456Z", "event": "login", "outcome": "ok", "principal": "user:ada",
     "address": "192.0.2.7", ...}

Each line is written at once and whole (`gateway.log_file`), so that workers share the file. Where it cannot be written,
what it would say stands in the log. No secret is ever given to it. Any thread.
"""

import json
import threading
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.config import ConfigError, Settings
from gateway.hush import without_secrets
from gateway.log_file import LogFile

LOGIN: Final = "login"
LOGOUT: Final = "logout"
DENIAL: Final = "denial"
READ: Final = "read"
PUBLISH: Final = "publish"
MOVE: Final = "move"
DELETE: Final = "delete"
TOKEN: Final = "token"  # noqa: S105  # an event's name
POLICY: Final = "policy"
OK: Final = "ok"
REFUSED: Final = "refused"
LONGEST: Final = 1024  # characters of one value

_log = structlog.stdlib.get_logger("aetherfs.audit")


class Audit:
    """Writes events to a file; without one it takes them and does nothing."""

    def __init__(self, path: str = "", *, reads: bool = False) -> None:
        """Open the file.

        Args:
            path: where; `-`: standard error; empty: nowhere.
            reads: whether reads are to be told too (`reads` says so to those who read).

        Raises:
            OSError: it cannot be written.
        """
        self._path, self.reads = path, reads and bool(path)
        self._lock = threading.Lock()
        self._file = LogFile(path, 0o600) if path else None

    def note(self, event: str, outcome: str, *, principal: object, address: str, **more: object) -> None:
        """Write one event.

        Args:
            event: one of the constants above.
            outcome: OK or REFUSED.
            principal: who, as rules write it.
            address: where from.
            more: `dataset`, `why`, `surface` and the like. Never a secret.
        """
        if self._file is None:
            return
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "event": event,
            "outcome": outcome,
            "principal": without_secrets(str(principal))[:LONGEST],
            "address": address,
        }
        for key, value in more.items():
            line[key] = value if isinstance(value, int | None) else without_secrets(str(value))[:LONGEST]
        data = json.dumps(line).encode("utf-8", "backslashreplace") + b"\n"
        try:
            with self._lock:
                if self._file is not None:
                    self._file.add(data)
        except OSError as error:
            _log.error("audit log can't be written", path=self._path, why=str(error), line=data.decode()[:-1])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()


NOWHERE: Final = Audit()


def open_audit(settings: Settings) -> Audit:
    """Open the audit log that settings name.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        return Audit(settings.auth.audit_log, reads=settings.auth.audit_reads)
    except OSError as error:
        raise ConfigError(f"auth.audit_log: {settings.auth.audit_log} cannot be written: {error.strerror}") from error
