"""Runs several programs on one object store, one request at a time, in every order or in orders that are drawn.

Each program runs in a thread of its own and stops before each request that others could notice; a scheduler lets one of
them go on. Random ids are drawn from a sequence of each program's own, so that the same order gives the same bytes.
`explore` goes through all orders, but for those that lead to a state (of the store, and of what each program has seen)
from which all was explored already.
"""

import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from store.errors import StoreError
from store.objects.base import Buffer, Fetched, ObjectInfo
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper

NOTICED = ("datasets/", "manifests/", "packs/", "pushes/", "gc/")  # requests for other keys are not stopped
_TIMEOUT_S = 60

Program = Callable[["Stepping"], object]
Choose = Callable[[Sequence[str], bytes], str]  # (who can go on, digest of the state) -> whose turn it is


class Interleaving:
    """One run of several programs."""

    def __init__(self, inner: MemoryStore, programs: Mapping[str, Program]) -> None:
        self.inner, self.programs = inner, programs
        self.outcomes: dict[str, object] = {}  # what each returned, or the `StoreError` that it raised
        self.bugs: list[BaseException] = []
        self.trace: list[str] = []
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[str, Callable[[], bool]]] = {}
        self._granted = ""
        self._seen = {name: hashlib.sha256(name.encode()) for name in programs}

    def run(self, choose: Choose) -> None:
        """Run all programs to their ends."""
        threads = [threading.Thread(target=self._body, name=name, daemon=True) for name in self.programs]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                quiet = self._changed.wait_for(self._quiet, _TIMEOUT_S)
                assert quiet, f"a program hangs after {self.trace}"
                if not self._waiting:
                    break
                able = sorted(name for name, (_, ready) in self._waiting.items() if ready())
                assert able, f"all programs wait for one another after {self.trace}"
                name = choose(able, self._state())
                self.trace.append(f"{name}: {self._waiting.pop(name)[0]}")
                self._granted = name
                self._changed.notify_all()
        for thread in threads:
            thread.join()
        if self.bugs:
            raise self.bugs[0]

    def turn(self, name: str, label: str, call: Callable[[], Any], ready: Callable[[], bool] = lambda: True) -> Any:
        """Wait until it is the program's turn, then do one thing."""
        with self._changed:
            assert name not in self._waiting, f"{name} does two things at once"
            self._waiting[name] = label, ready
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._granted == name, _TIMEOUT_S)
            self._granted = ""
        told = label
        try:
            result = call()
            told += _told(result)
        except StoreError as error:
            told += type(error).__name__
            raise
        finally:
            self._seen[name].update(told.encode())
        return result

    def _quiet(self) -> bool:
        return not self._granted and len(self._waiting) + len(self.outcomes) == len(self.programs)

    def _body(self) -> None:
        name = threading.current_thread().name
        outcome: object = None
        try:
            outcome = self.programs[name](Stepping(self, name))
        except StoreError as error:
            outcome = error
        except BaseException as error:  # handed to the thread that runs the test
            self.bugs.append(error)
        with self._changed:
            self.outcomes[name] = outcome
            self._changed.notify_all()

    def _state(self) -> bytes:
        state = hashlib.sha256()
        for info in sorted(self.inner.list(""), key=lambda info: info.key):
            state.update(f"{info.key} {info.size} ".encode() + self.inner.get(info.key))
        for name in sorted(self.programs):
            state.update(self._seen[name].digest() + (b"!" if name in self.outcomes else b"."))
        return state.digest()


class Stepping(Wrapper):
    """The store as one of the programs sees it."""

    def __init__(self, interleaving: Interleaving, name: str) -> None:
        super().__init__(interleaving.inner)
        self.memory = interleaving.inner  # for what is no step
        self._interleaving, self._name = interleaving, name

    def until(self, label: str, ready: Callable[[], bool]) -> None:
        """Go on only once `ready`."""
        self._interleaving.turn(self._name, label, lambda: None, ready)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        return bytes(self._step("get", key, lambda: self.memory.get(key, offset=offset, size=size)))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        data, whole = self._step("tail", key, lambda: self.memory.tail(key, size))
        return data, whole

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        found: Fetched | None = self._step("fetch", key, lambda: self.memory.fetch(key, unless=unless))
        return found

    def head(self, key: str) -> ObjectInfo:
        info: ObjectInfo = self._step("head", key, lambda: self.memory.head(key))
        return info

    def put(self, key: str, data: Buffer) -> str:
        return str(self._step("put", key, lambda: self.memory.put(key, data)))

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return str(self._step("put_if", key, lambda: self.memory.put_if(key, data, match=match)))

    def delete(self, key: str) -> None:
        self._step("delete", key, lambda: self.memory.delete(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        return iter(self._step("list", prefix, lambda: [*self.memory.list(prefix, after=after)]))

    def _step(self, method: str, key: str, call: Callable[[], Any]) -> Any:
        if not key.startswith(NOTICED):
            return call()
        return self._interleaving.turn(self._name, f"{method} {key[:24]}", call)


def _told(result: Any) -> str:
    """Spell what a program has learned, without ETags, which count the writes of all."""
    match result:
        case Fetched(data, _) | (bytes() as data, int()):
            return hashlib.sha256(data).hexdigest()
        case bytes():
            return hashlib.sha256(result).hexdigest()
        case ObjectInfo():
            return str(result.size)
        case [*infos]:
            return " ".join(sorted(info.key for info in infos))
        case str():
            return "written"
        case _:
            return str(result)


def explore(start: Callable[[], Interleaving], check: Callable[[Interleaving], None]) -> int:
    """Run all orders; return how many runs it took.

    Args:
        start: sets up a store and its programs, the same each time.
        check: holds the end of a run against what must be.
    """
    seen: set[bytes] = set()
    waiting: list[list[str]] = [[]]
    runs = 0
    while waiting:
        prefix = waiting.pop()
        path: list[str] = []

        def choose(able: Sequence[str], state: bytes, prefix: list[str] = prefix, path: list[str] = path) -> str:
            if len(path) < len(prefix):
                name = prefix[len(path)]
            else:
                name = able[0]
                if state not in seen:
                    seen.add(state)
                    waiting.extend([*path, other] for other in able[1:])
            path.append(name)
            return name

        run_checked(start(), choose, check)
        runs += 1
    return runs


def run_checked(interleaving: Interleaving, choose: Choose, check: Callable[[Interleaving], None]) -> None:
    """Run one order and check its end; a failure tells the order."""
    with _own_randomness(interleaving.programs):
        interleaving.run(choose)
    try:
        check(interleaving)
    except (AssertionError, StoreError) as error:
        order = "\n".join(interleaving.trace)
        raise AssertionError(f"{error!r}; outcomes {interleaving.outcomes}; after\n{order}") from error


@contextmanager
def _own_randomness(names: Mapping[str, object]) -> Iterator[None]:
    real = os.urandom
    drawn = {name: random.Random(name) for name in names}

    def draw(size: int) -> bytes:
        own = drawn.get(threading.current_thread().name)
        return own.randbytes(size) if own else real(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", draw)
        patch.setattr(random, "_urandom", draw)
        yield
