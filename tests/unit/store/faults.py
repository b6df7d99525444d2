"""A memory store whose conditional writes go wrong as told, for tests of who has won."""

from collections.abc import Callable
from typing import Literal

from store.errors import OutcomeUnknown, PreconditionFailed, StoreUnavailable
from store.objects.base import Buffer, Fetched
from store.objects.memory import MemoryStore

Fault = Literal["lost answer", "lost request", "refused though written", "unavailable"]


class FaultyStore(MemoryStore):
    """Takes one fault from `faults` for each `put_if`; `between` runs once, just after the next faulty one."""

    def __init__(self) -> None:
        self.time_ns = 1_700_000_000 * 10**9
        super().__init__(clock=lambda: self.time_ns)
        self.faults: list[Fault | None] = []
        self.between: Callable[[], object] | None = None
        self.before: Callable[[], object] | None = None
        self.after_fetch: Callable[[], object] | None = None
        self.unreadable = 0  # so many fetches fail
        self.conditional_writes = 0
        self.fetches: list[str] = []
        self.gets: list[str] = []

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self.fetches.append(key)
        if self.unreadable:
            self.unreadable -= 1
            raise StoreUnavailable(self.address, "told to fail")
        found = super().fetch(key, unless=unless)
        if self.after_fetch:
            after, self.after_fetch = self.after_fetch, None
            after()
        return found

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        self.gets.append(key)
        return super().get(key, offset=offset, size=size)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        self.conditional_writes += 1
        if self.before:
            before, self.before = self.before, None
            before()
        fault = self.faults.pop(0) if self.faults else None
        if fault in (None, "lost answer", "refused though written"):
            etag = super().put_if(key, data, match=match)
            if fault is None:
                return etag
        if self.between:
            between, self.between = self.between, None
            between()
        match fault:
            case "refused though written":
                raise PreconditionFailed(key)
            case "unavailable":
                raise StoreUnavailable(self.address, "told to fail")
            case _:
                raise OutcomeUnknown(key, "told to lose it")
