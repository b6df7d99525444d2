"""Client certificates as a way to log in: whose they are, by a file that is read again when it changes.

Nothing here waits but for that file, which is small and lies on a disk; so a loop may ask. Any thread.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from auth.certificates import LARGEST, CertificatesError, holder, parse_certificates
from auth.principal import Principal
from gateway.access.current import Current, WatchedFile
from gateway.config import ConfigError

WHAT: Final = "auth.certificates:"  # as messages begin
LOOK_S: Final = 1.0  # between two looks at the file
KEPT: Final = 4096  # certificates whose owners are remembered


class Certificates:
    """Tells whose the certificates are that TLS has verified."""

    def __init__(self, path: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; without one certificates say themselves whose they are.

        Raises:
            ConfigError: it can't be used.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._users: Current[Mapping[str, str]] | None = None
        self._looked_s = clock()
        if path:
            file = WatchedFile(Path(path), WHAT, limit=LARGEST)
            self._users = Current(f"{WHAT} {path}", file.read, lambda data: _parsed(path, data))

    def principal(self, der: bytes) -> Principal:
        """Return whose a certificate is.

        Raises:
            BadCredentials: nobody's that is known.
        """
        with self._lock:
            self._look()
            known = self._known.get(der)
            if known is None:
                known = holder(der, None if self._users is None else self._users.value)
                self._known[der] = known
                if len(self._known) > KEPT:
                    self._known.popitem(last=False)
            return known

    def _look(self) -> None:
        """Read the file again if it has changed; see `Current.refresh`."""
        now_s = self._clock()
        if self._users is None or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if self._users.refresh():
            self._known.clear()


def _parsed(path: str, data: bytes) -> Mapping[str, str]:
    try:
        return parse_certificates(data)
    except CertificatesError as error:
        raise ConfigError(f"{WHAT} {path}, {error}") from error
