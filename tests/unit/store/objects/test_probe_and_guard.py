import json
import threading
from collections.abc import Callable, Iterable

import pytest

from store.errors import (
    ConditionsIgnored,
    OutcomeUnknown,
    PreconditionFailed,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from store.objects.base import Buffer, Fetched, ObjectInfo
from store.objects.guard import Guarded
from store.objects.measure import Measuring
from store.objects.memory import MemoryStore
from store.objects.probe import Conditions, probe_conditions
from store.objects.wrapper import Wrapper

ALL = Conditions(create=True, match=True, quoted=True, why="")


class Quoting(Wrapper):
    """A memory store whose ETags have quotes, as S3's have; `put_if` may do as it likes with conditions."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        held = self._inner.fetch(key, unless=unless.strip('"') if unless else None)
        return Fetched(held.data, f'"{held.etag}"') if held else None

    def head(self, key: str) -> ObjectInfo:
        held = self._inner.head(key)
        return held._replace(etag=f'"{held.etag}"')

    def put(self, key: str, data: Buffer) -> str:
        return f'"{super().put(key, data)}"'

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return f'"{super().put_if(key, data, match=match.strip(chr(34)) if match else None)}"'


class IgnoresAll(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return self.put(key, data)


class IgnoresCreate(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return self.put(key, data) if match is None else super().put_if(key, data, match=match)


class IgnoresMatch(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return super().put_if(key, data, match=None) if match is None else self.put(key, data)


class IgnoresMatchOfNothing(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        there = any(info.key == key for info in self.list(key))
        return self.put(key, data) if match and not there else super().put_if(key, data, match=match)


class WantsBareETags(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        if match is not None and match.startswith('"'):
            raise PreconditionFailed(key)
        return super().put_if(key, data, match=match)


class RefusesMatch(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        if match is not None:
            raise PreconditionFailed(key)
        return super().put_if(key, data, match=match)


class RefusesCreate(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        if match is None:
            raise PreconditionFailed(key)
        return super().put_if(key, data, match=match)


class NotImplementedThere(Quoting):
    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        raise ConditionsIgnored(self.address, "NotImplemented (HTTP 501)")


class Fails(Quoting):
    def __init__(self, errors: Iterable[StoreError]) -> None:
        super().__init__()
        self.errors = list(errors)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return super().put_if(key, data, match=match)


def left_over(store: Wrapper) -> list[ObjectInfo]:
    return list(store.list(""))


@pytest.mark.parametrize(
    ("make", "create", "match", "quoted"),
    [
        (Quoting, True, True, True),
        (WantsBareETags, True, True, False),
        (IgnoresAll, False, False, True),
        (IgnoresCreate, False, True, True),
        (IgnoresMatch, True, False, True),
        (IgnoresMatchOfNothing, True, False, True),
        (RefusesMatch, True, False, True),
        (RefusesCreate, False, True, True),
        (NotImplementedThere, False, False, True),
    ],
)
def test_the_probe_sees_through_each_kind_of_server(
    make: Callable[[], Quoting], create: bool, match: bool, quoted: bool
) -> None:
    store = make()
    found = probe_conditions(store)
    assert (found.create, found.match, found.quoted) == (create, match, quoted)
    assert found.honoured == (not found.why)
    assert left_over(store) == []


def test_an_unclear_outcome_is_probed_again_but_not_for_ever() -> None:
    pauses: list[float] = []
    assert probe_conditions(Fails([OutcomeUnknown("k", "lost")] * 7), sleep=pauses.append) == ALL
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    with pytest.raises(StoreUnavailable, match="lost"):
        probe_conditions(Fails([OutcomeUnknown("k", "lost")] * 99), sleep=pauses.append)


def test_a_store_that_answers_nothing_any_more_is_not_probed_again() -> None:
    class Silent(Fails):
        def delete(self, key: str) -> None:
            raise StoreUnavailable(self.address, "no answer")

    store = Silent([OutcomeUnknown("k", "lost")] * 99)
    with pytest.raises(StoreUnavailable, match="lost"):
        probe_conditions(store)
    assert len(store.errors) == 98


def test_a_store_that_may_not_be_written_is_denied_not_blamed() -> None:
    with pytest.raises(StoreDenied):
        probe_conditions(Fails([StoreDenied("s", "read-only")]))


def test_what_was_found_can_be_kept_as_json() -> None:
    assert Conditions(**json.loads(json.dumps(ALL._asdict()))) == ALL


@pytest.mark.parametrize("make", [IgnoresAll, IgnoresCreate, IgnoresMatch, NotImplementedThere, RefusesMatch])
def test_a_store_that_ignores_conditions_takes_none_but_can_be_read(make: Callable[[], Quoting]) -> None:
    inner = make()
    inner.put("a", b"1")
    store = Guarded(inner)
    for match in (None, '"1"'):
        with pytest.raises(ConditionsIgnored, match="--single-writer"):
            store.put_if("a", b"2", match=match)
    assert store.get("a") == b"1"


@pytest.mark.parametrize("make", [IgnoresAll, IgnoresCreate, IgnoresMatch, NotImplementedThere, RefusesMatch])
def test_a_single_writers_conditions_are_checked_here(make: Callable[[], Quoting]) -> None:
    store = Guarded(make(), single_writer=True)
    first = store.put_if("a", b"1", match=None)
    with pytest.raises(PreconditionFailed):
        store.put_if("a", b"2", match=None)
    second = store.put_if("a", b"2", match=first)
    with pytest.raises(PreconditionFailed):
        store.put_if("a", b"3", match=first)
    assert store.fetch("a") == Fetched(b"2", second)
    with pytest.raises(PreconditionFailed):
        store.put_if("gone", b"3", match=first)


def test_a_single_writers_threads_lose_nothing() -> None:
    store = Guarded(IgnoresAll(), single_writer=True)
    store.put_if("counter", b"0", match=None)

    def count() -> None:
        done = 0
        while done < 20:
            held = store.fetch("counter")
            assert held is not None
            try:
                store.put_if("counter", str(int(held.data) + 1).encode(), match=held.etag)
            except PreconditionFailed:
                continue
            done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter") == b"80"


def test_a_single_writers_lost_answer_is_an_unknown_outcome() -> None:
    class LosesAnswers(IgnoresAll):
        def put(self, key: str, data: Buffer) -> str:
            super().put(key, data)
            raise StoreUnavailable("s", "time-out")

    store = Guarded(LosesAnswers(), remembered=Conditions(False, False, True, "no"), single_writer=True)
    with pytest.raises(OutcomeUnknown):
        store.put_if("a", b"1", match=None)


def test_etags_are_handed_on_as_the_server_wants_them() -> None:
    store = Guarded(WantsBareETags())
    etag = store.put_if("a", b"1", match=None)
    assert etag.startswith('"')
    store.put_if("a", b"2", match=etag)
    assert store.get("a") == b"2"


def test_the_probe_runs_once_before_the_first_conditional_write_and_never_for_reading() -> None:
    counting = Measuring(MemoryStore())
    told: list[Conditions] = []
    store = Guarded(counting, remember=told.append)
    store.put("a", b"1")
    store.get("a")
    assert counting.snapshot().methods["put_if"].calls == 0
    store.put_if("b", b"1", match=None)
    probed = counting.snapshot().methods["put_if"].calls
    store.put_if("c", b"1", match=None)
    assert counting.snapshot().methods["put_if"].calls == probed + 1
    assert told == [ALL]


def test_what_is_remembered_is_not_probed_again() -> None:
    counting = Measuring(MemoryStore())
    Guarded(counting, remembered=ALL).put_if("a", b"1", match=None)
    assert counting.snapshot().requests == 1
