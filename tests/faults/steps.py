"""A process that dies at a chosen write, and folders to publish that take several packs.

Used in a test's own process, where dying is an exception that nobody catches, and as a program, where it is `os._exit`:

    python -m tests.faults.steps STORE SOURCE STATE_DIR STEP before|after
"""

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeVar

import pytest

import store.pack
from store.objects.address import open_objects
from store.objects.base import Buffer, Fetched, ObjectInfo, ObjectStore
from store.objects.wrapper import Wrapper
from store.push.push import Pushed, PushOptions, push
from store.repository import Repository
from store.root import ENCRYPTION, StoreRoot, in_plain, open_store
from store.sealing.key_source import GivenKey, make_envelope, unlock_with
from store.secret import Secret
from tests.support.s3 import S3Place

SMALL_PACK: Final = 64 << 10  # bytes at which a pack is closed, so that little data makes many packs
KILLED: Final = 99  # exit code of a process that died as told
DATASET: Final = "ds"
KEY: Final = GivenKey(Secret(b"k" * 32), "the tests")

When = Literal["before", "after"]

T = TypeVar("T")


class Killed(BaseException):
    """The process ends here. No `except` of the program's may stop it."""


def die() -> None:
    """Die in a test's own process."""
    raise Killed


class Mortal(Wrapper):
    """Counts writes and dies before or after one of them; whoever is dead does nothing more to the store."""

    def __init__(
        self, inner: ObjectStore, *, step: int = 0, when: When = "before", death: Callable[[], None] = die
    ) -> None:
        """Wrap `inner`; `step` counts from 1, and 0 means to live."""
        super().__init__(inner)
        self._step, self._when, self._death = step, when, death
        self._lock = threading.Lock()
        self._dead = False
        self.writes: list[str] = []

    def put(self, key: str, data: Buffer) -> str:
        return self._write(key, lambda: self._inner.put(key, data))

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return self._write(key, lambda: self._inner.put_if(key, data, match=match))

    def delete(self, key: str) -> None:
        self._write(key, lambda: self._inner.delete(key))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        self._live()
        return self._inner.get(key, offset=offset, size=size)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        self._live()
        return self._inner.tail(key, size)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self._live()
        return self._inner.fetch(key, unless=unless)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._live()
        return self._inner.list(prefix, after=after)

    def _live(self) -> None:
        if self._dead:
            self._death()

    def _write(self, key: str, write: Callable[[], T]) -> T:
        with self._lock:
            self._live()
            self.writes.append(key)
            fatal = len(self.writes) == self._step
            if fatal and self._when == "before":
                self._dead = True
                self._death()
        try:
            return write()
        finally:
            self._dead = self._dead or fatal
            self._live()  # what was written while another died is in the store, but nobody hears of it


def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close packs early."""
    monkeypatch.setattr(store.pack, "TARGET_SIZE", SMALL_PACK)


def write_folder(folder: Path, seed: int, *, files: int = 6, size: int = 100_000) -> None:
    """Fill a folder with what does not compress; files of one seed are equal."""
    folder.mkdir(exist_ok=True)
    for number in range(files):
        (folder / f"file {number}").write_bytes(random.Random(seed * 1000 + number).randbytes(size))


def publish(objects: ObjectStore, source: Path, state_dir: Path, *tags: str) -> Pushed:
    """Push as one process would, with nothing remembered but what lies in `state_dir`."""
    return push(opened(objects), source, DATASET, tags, state_dir, PushOptions(by="tester"))


def opened(objects: ObjectStore) -> Repository:
    """Open a store; an encrypted one by the key that all tests of this folder give."""
    root = open_store(objects, unlock_with(KEY))
    return Repository(in_plain(objects, root), root)


def encrypted(fresh: StoreRoot) -> StoreRoot:
    """Make the record of a new store into that of an encrypted one, for `create_store`."""
    envelope, keys = make_envelope(KEY, fresh.store, fresh.created_ns)
    return replace(fresh, envelope=envelope, keys=keys, handle_key=keys.handle, features={"read": (ENCRYPTION,)})


def beside(place: S3Place, name: str) -> ObjectStore:
    """Open a store of its own below a place."""
    address, _, query = place.address.partition("?")
    return open_objects(f"{address}/{name.replace(' ', '-')}?{query}")


def main() -> None:
    """Push and die as told."""
    address, source, state_dir, step, at = sys.argv[1:]
    store.pack.TARGET_SIZE = SMALL_PACK  # type: ignore[misc]  # a test's way to have many small packs
    when: When = "before" if at == "before" else "after"
    objects = Mortal(open_objects(address), step=int(step), when=when, death=lambda: os._exit(KILLED))
    publish(objects, Path(source), Path(state_dir), "2.0.0", "latest")


if __name__ == "__main__":
    main()
