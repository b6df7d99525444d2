"""Client certificates as a way to log in: whose they are, by a file that is read again when it changes.

Nothing here waits but for that file, which is small and lies on a disk; so a loop may ask. Any thread.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from auth.certificates import LARGEST, CertificatesError, holder, parse_certificates
from auth.principal import Principal

LOOK_S: Final = 1.0  # between two looks at the file
KEPT: Final = 4096  # certificates whose owners are remembered

_log = structlog.stdlib.get_logger("aetherfs.access")


class Certificates:
    """Tells whose the certificates are that TLS has verified."""

    def __init__(self, path: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; without one certificates say themselves whose they are.

        Raises:
            CertificatesError: it can't be used.
        """
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._users: Mapping[str, str] | None = None
        self._looked_s = clock()
        self._seen = self._state()
        if path:
            self._users = self._read()

    def principal(self, der: bytes) -> Principal:
        """Return whose a certificate is.

        Raises:
            BadCredentials: nobody's that is known.
        """
        with self._lock:
            self._look()
            known = self._known.get(der)
            if known is None:
                known = holder(der, self._users)
                self._known[der] = known
                if len(self._known) > KEPT:
                    self._known.popitem(last=False)
            return known

    def _look(self) -> None:
        """Read the file again if it has changed. One that can't be used is told once, and the old one stays."""
        now_s = self._clock()
        if not self._path or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._users = self._read()
        except CertificatesError as error:
            _log.error("certificates of users not taken, the old ones stay", why=str(error))
        else:
            self._known.clear()

    def _read(self) -> Mapping[str, str]:
        try:
            with open(self._path, "rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise CertificatesError(f"{self._path} can't be read: {error.strerror}") from error
        try:
            return parse_certificates(data)
        except CertificatesError as error:
            raise CertificatesError(f"{self._path}: {error}") from error

    def _state(self) -> tuple[int, ...]:
        try:
            seen = os.stat(self._path) if self._path else None
        except OSError:
            seen = None
        return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns) if seen else ()
