"""What was read last of something that changes: a file, an object. What can't be used leaves the one before in place.

`Current` holds the value; reading it takes no lock and never waits. `refresh` asks anew, and says once in the log why a
newer one can't be used. `Watch` does so every few seconds, on a thread of its own: a bucket that does not answer holds
up nobody else. Any thread.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import structlog

from gateway.config import ConfigError
from gateway.guarded_files import why_not
from store.errors import StoreError

FILE_S: Final = 2.0  # between two looks at a file
BUCKET_S: Final = 5.0  # between two questions to the bucket
_FRESH_NS: Final = 2 * 10**9  # a file that was written so shortly ago may be written again without looking different

_log = structlog.stdlib.get_logger("aetherfs.access")
T = TypeVar("T")


class Current(Generic[T]):
    """The last usable value of a source."""

    def __init__(self, what: str, fetch: Callable[[], bytes | None], parse: Callable[[bytes], T]) -> None:
        """Read it for the first time.

        Args:
            what: names the source in the log.
            fetch: returns the source's bytes, the first time in any case, `None` while they are those that it returned
                last; raises ConfigError or StoreError.
            parse: makes a value of them, or raises ConfigError.

        Raises:
            ConfigError, StoreError: what `fetch` and `parse` raise the first time.
        """
        self._what, self._fetch, self._parse = what, fetch, parse
        self._told = ""  # what was said last of why it can't be used
        self._bad = False  # the bytes of the moment can't be used
        self._lock = threading.Lock()
        self.value: T = parse(fetch() or b"")
        self.generation = 1  # grows with each new value

    def refresh(self) -> bool:
        """Ask whether there is a new value, and take it; tell whether there was. No error of the source reaches anyone.

        Whoever asks meanwhile waits, since the answer that is on its way may be older than their question.
        """
        with self._lock:
            try:
                data = self._fetch()
                if data is None:
                    if not self._bad:
                        self._tell("")
                    return False
                self._bad = True
                coming = self._parse(data)
            except (ConfigError, StoreError) as error:
                self._tell(str(error))
                return False
            self._bad = False
            self._tell("")
            self.value = coming
            self.generation += 1
        _log.info(f"{self._what} was read anew")
        return True

    def _tell(self, why: str) -> None:
        if why and why != self._told:
            _log.error(f"{self._what} can't be used: the one before stays", why=why)
        elif self._told and not why:
            _log.warning(f"{self._what} can be used again")
        self._told = why


class Watch:
    """Calls something every few seconds until it is closed."""

    def __init__(self, refresh: Callable[[], object], every_s: float) -> None:
        """Begin; the first call is made after `every_s`."""
        self._refresh, self._every_s = refresh, every_s
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def close(self) -> None:
        """Call no more. A call that is being made is not waited for."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._refresh()
            except Exception:  # this thread's outermost shell: what it looks after must not go unwatched for ever
                _log.exception("could not be looked after")


class _Look(NamedTuple):
    """What tells whether a file was changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    owner: int


class WatchedFile:
    """A file that decides who may do what: nobody may write it but its owner, who is root or this very user."""

    def __init__(self, path: Path, what: str, *, limit: int, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Name a file.

        Args:
            path: where it lies.
            what: it is, for messages.
            limit: most bytes that are read.
            clock_ns: tells the time, ns since 1970.
        """
        self.path = path
        self._what, self._limit, self._clock_ns = what, limit, clock_ns
        self._seen: _Look | None = None
        self._data: bytes | None = None

    def read(self) -> bytes | None:
        """Return the file's bytes, or `None` if it holds what it held when they were returned last.

        Raises:
            ConfigError: there is no such file, others may write it, or it is too large.
        """
        try:
            if self._seen is not None and _look(os.stat(self.path)) == self._seen:
                return None
            data = self._read()
        except OSError as error:
            self._seen = None
            raise ConfigError(f"{self._what} {self.path} cannot be read: {error.strerror}") from error
        if data == self._data:
            return None
        self._data = data
        return data

    def _read(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
            status = os.fstat(descriptor)
            self._check(status)
            data = file.read(self._limit + 1)
        if len(data) > self._limit:
            raise ConfigError(f"{self._what} {self.path} is larger than {self._limit} bytes: it is some other file")
        fresh = abs(self._clock_ns() - status.st_mtime_ns) < _FRESH_NS
        self._seen = None if fresh else _look(status)
        return data

    def _check(self, status: os.stat_result) -> None:
        why = why_not(status, self.path)
        if why:
            raise ConfigError(f"{self._what} {why}")


def _look(status: os.stat_result) -> _Look:
    return _Look(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode,
        status.st_uid,
    )  # fmt: skip
