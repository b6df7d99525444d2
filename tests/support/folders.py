"""Folders on disk for tests of push and pull: what one holds, as a value to be compared, and stores to go through."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from store.catalogue.catalogue import State
from store.errors import StoreUnavailable
from store.objects.base import ObjectStore
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.repository import Repository
from store.root import create_store

OLD_NS = 1_500_000_000_123_456_789  # long settled, with all its nanoseconds

HARD_NAMES = (
    b"two words",
    b"'single' \"double\" `back`",
    b"line\nbreak",
    "\N{SNOWMAN} \N{PILE OF POO}".encode(),
    b"not utf-8 \xff\xfe",
    b"#%?&;+ @:*[x]",
    b"-rf",
    b" ",
    b"\\back\\slash",
    "cafe\N{COMBINING ACUTE ACCENT}".encode(),
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    b"n" * 255,
)


class Held(NamedTuple):
    """One entry, with all that is kept of it."""

    kind: int
    executable: bool
    mtime_ns: int
    content: bytes  # of a file, or a link's target


def held(folder: Path) -> dict[bytes, Held]:
    """Return all that a folder holds, itself under the empty path."""
    top = os.fsencode(folder)
    found: dict[bytes, Held] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        full = os.path.join(top, path) if path else top
        status = os.lstat(full)
        content = b""
        if stat.S_ISDIR(status.st_mode):
            waiting += [os.path.join(path, name) for name in os.listdir(full)]
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(full)
        elif stat.S_ISREG(status.st_mode):
            with open(full, "rb") as file:
                content = file.read()
        executable = stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
        found[path] = Held(stat.S_IFMT(status.st_mode), executable, status.st_mtime_ns, content)
    return found


def new_repository(objects: ObjectStore | None = None) -> Repository:
    """Make a store and open it; in memory unless told where."""
    objects = objects if objects is not None else MemoryStore()
    create_store(objects)
    return Repository.open(objects)


def latest(repository: Repository, dataset: str = "ds") -> State:
    """Return what `latest` names."""
    return repository.catalogue.resolve(f"{dataset}:latest")


class Failing(Wrapper):
    """An object store whose calls of one method fail once `calls_left` of them were answered."""

    def __init__(self, inner: ObjectStore, *, method: str, only: str = "") -> None:
        """Wrap `inner`; nothing fails before `calls_left` is set.

        Args:
            inner: the store.
            method: "get" or "put".
            only: prefix of the keys that count.
        """
        super().__init__(inner)
        self._method, self._only = method, only
        self.calls_left: int | None = None
        self.before: Callable[[str], None] = lambda key: None  # told the key before each call of the method

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object, or fail."""
        self._count("get", key)
        return self._inner.get(key, offset=offset, size=size)

    def put(self, key: str, data: bytes | bytearray | memoryview) -> str:
        """Write an object, or fail."""
        self._count("put", key)
        return self._inner.put(key, data)

    def _count(self, method: str, key: str) -> None:
        if method != self._method or not key.startswith(self._only):
            return
        self.before(key)
        if self.calls_left is not None:
            if self.calls_left <= 0:
                raise StoreUnavailable(self.address, "the test says so")
            self.calls_left -= 1
