import contextlib
from collections.abc import Iterator, Sequence

import pytest

import store.errors as errors_module
from store.errors import (
    BucketMissing,
    NotWarm,
    ObjectMissing,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from store.objects.base import Buffer, ObjectInfo
from store.objects.listing import PagedListing
from store.objects.memory import MemoryStore
from store.objects.retry import Backoff, Retrying, is_permanent
from store.objects.wrapper import Wrapper

DOWN = StoreUnavailable("memory:", "down")


class Faulty(Wrapper):
    """Raises the errors it was given, one per call, before it lets calls through."""

    def __init__(self, errors: Sequence[StoreError]) -> None:
        super().__init__(MemoryStore())
        self.errors = list(errors)
        self.calls = 0

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        self._trip()
        return super().get(key, offset=offset, size=size)

    def put(self, key: str, data: Buffer) -> str:
        self._trip()
        return super().put(key, data)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        self._trip()
        return super().put_if(key, data, match=match)

    def delete(self, key: str) -> None:
        self._trip()
        super().delete(key)

    def _trip(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


class Waits:
    """A clock that only sleeping moves, and what was said before each sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []
        self.told: list[tuple[str, float]] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def wrap(self, inner: Wrapper, backoff: Backoff | None = None) -> Retrying:
        return Retrying(
            inner,
            backoff or Backoff(attempts=4, first_s=1, longest_s=10, give_up_s=100),
            on_wait=lambda why, seconds: self.told.append((why, seconds)),
            sleep=self.sleep,
            clock=lambda: self.now_s,
            draw=lambda: 1.0,
        )


def test_a_passing_failure_is_tried_again_and_told_before_each_wait() -> None:
    inner, waits = Faulty([DOWN, DOWN, DOWN]), Waits()
    waits.wrap(inner).put("a", b"1")
    assert inner.calls == 4
    assert waits.slept == [1, 2, 4]
    assert waits.told == [(str(DOWN), 1), (str(DOWN), 2), (str(DOWN), 4)]


def test_it_gives_up_after_the_last_attempt_with_the_stores_own_error() -> None:
    inner, waits = Faulty([DOWN] * 9), Waits()
    with pytest.raises(StoreUnavailable) as caught:
        waits.wrap(inner).get("a")
    assert caught.value is DOWN
    assert inner.calls == 4


def test_it_gives_up_when_the_next_wait_would_end_too_late() -> None:
    inner, waits = Faulty([DOWN] * 99), Waits()
    with pytest.raises(StoreUnavailable):
        waits.wrap(inner, Backoff(attempts=99, first_s=1, longest_s=10, give_up_s=12)).get("a")
    assert sum(waits.slept) <= 12


@pytest.mark.parametrize(
    "error", [StoreDenied("s", "no"), StoreFull("s"), BucketMissing("s"), NotWarm(), OutcomeUnknown("a", "lost")]
)
def test_a_permanent_failure_is_raised_at_once(error: StoreError) -> None:
    inner, waits = Faulty([error]), Waits()
    with pytest.raises(type(error)):
        waits.wrap(inner).put("a", b"1")
    assert (inner.calls, waits.slept) == (1, [])


def test_after_close_nothing_is_tried_again() -> None:
    inner, waits = Faulty([]), Waits()
    store = waits.wrap(inner)
    store.close()
    with pytest.raises(StoreUnavailable):
        store.get("a")
    assert (inner.calls, waits.slept) == (1, [])


def test_absence_is_an_answer_not_a_failure() -> None:
    inner, waits = Faulty([]), Waits()
    with pytest.raises(ObjectMissing):
        waits.wrap(inner).get("a")
    assert inner.calls == 1


@pytest.mark.parametrize("error", [DOWN, OutcomeUnknown("a", "lost")])
def test_a_conditional_write_is_never_repeated(error: StoreError) -> None:
    inner, waits = Faulty([error]), Waits()
    with pytest.raises(Unavailable):
        waits.wrap(inner).put_if("a", b"1", match=None)
    assert (inner.calls, waits.slept) == (1, [])


def test_the_store_may_ask_for_a_longer_wait_within_the_bound() -> None:
    asked = [StoreUnavailable("s", "busy", 5.0), StoreUnavailable("s", "busy", 10_000.0)]
    inner, waits = Faulty(asked), Waits()
    waits.wrap(inner).delete("a")
    assert waits.slept == [5.0, 10.0]


def test_the_pause_that_a_store_asks_for_after_a_conditional_write_is_kept_within_the_bound_and_told() -> None:
    asked = [OutcomeUnknown("a", "busy", 5.0), OutcomeUnknown("a", "busy", 10_000.0)]
    inner, waits = Faulty(asked), Waits()
    store = waits.wrap(inner)
    for error in asked[:]:
        with pytest.raises(OutcomeUnknown):
            store.put_if("a", b"1", match=None)
        assert waits.told[-1][0] == str(error)
    assert waits.slept == [5.0, 10.0]


def test_the_budget_is_the_stores_and_not_each_calls() -> None:
    inner, waits = Faulty([DOWN] * 99), Waits()
    store = waits.wrap(inner, Backoff(attempts=99, first_s=1, longest_s=10, give_up_s=12))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.get("a")
        waits.now_s += 12
    spent, calls = len(waits.slept), inner.calls
    with pytest.raises(StoreUnavailable):
        store.delete("a")
    assert (inner.calls, len(waits.slept)) == (calls + 1, spent)


@pytest.mark.parametrize("answer", [[], [ObjectMissing("a", "memory:")]])
def test_any_answer_renews_the_budget(answer: list[StoreError]) -> None:
    inner, waits = Faulty([DOWN] * 99), Waits()
    store = waits.wrap(inner, Backoff(attempts=99, first_s=1, longest_s=10, give_up_s=12))
    with pytest.raises(StoreUnavailable):
        store.get("a")
    waits.now_s += 100
    inner.errors = [*answer]
    with contextlib.suppress(ObjectMissing):
        store.put_if("a", b"1", match=None)
    inner.errors = [DOWN, DOWN]
    store.put("a", b"2")
    assert inner.errors == []


@pytest.mark.parametrize("failures", [1, 2, 5, 50, 10_000])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_delays_stay_between_half_and_the_bound(failures: int, fraction: float) -> None:
    backoff = Backoff(first_s=0.2, longest_s=20)
    delay_s = backoff.delay_s(failures, fraction=fraction, asked_s=None)
    assert 0.1 <= delay_s <= 20
    assert delay_s <= backoff.delay_s(failures + 1, fraction=fraction, asked_s=None)


class Pages(Faulty):
    """Lists ten objects in pages of three, each page failing as told."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        found = [ObjectInfo(f"{number}", 0, "", 0) for number in range(10)]

        def page(token: str | None) -> tuple[list[ObjectInfo], str | None]:
            self._trip()
            at = int(token or 0)
            return found[at : at + 3], str(at + 3) if at + 3 < len(found) else None

        return PagedListing(page)


def test_a_listing_goes_on_at_the_page_that_failed_and_repeats_or_loses_nothing() -> None:
    inner, waits = Pages([DOWN]), Waits()
    listing = waits.wrap(inner).list("")
    seen = [next(listing).key for _ in range(4)]
    inner.errors = [DOWN, DOWN]
    seen += [info.key for info in listing]
    assert seen == [str(number) for number in range(10)]
    assert len(waits.slept) == 3


def test_a_broken_listing_never_ends_as_if_it_were_whole() -> None:
    inner, waits = Pages([]), Waits()
    listing = waits.wrap(inner).list("")
    next(listing)
    inner.errors = [DOWN] * 99
    with pytest.raises(StoreUnavailable):
        list(listing)


def leaves(of: type[StoreError]) -> list[type[StoreError]]:
    below = [leaf for child in of.__subclasses__() for leaf in leaves(child)]
    return below or [of]


def test_of_all_errors_only_an_unreachable_store_is_worth_another_try() -> None:
    passing = [leaf for leaf in leaves(errors_module.StoreError) if issubclass(leaf, Unavailable)]
    assert {leaf.__name__ for leaf in passing} == {
        "StoreUnavailable", "BucketMissing", "OutcomeUnknown", "StoreFull", "NotWarm", "PushLost",
    }  # fmt: skip
    assert not is_permanent(DOWN)
