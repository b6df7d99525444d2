"""Compare-and-set against other writers and lost answers."""

import json
import random
from typing import Any

import pytest

from store.commit import ATTEMPTS, OPERATIONS_KEPT, UNCLEAR, Committed, compare_and_set, json_operations, remember
from store.errors import Contended, OutcomeUnknown, StoreUnavailable, TagMissing
from tests.unit.store.faults import Fault, FaultyStore

KEY = "counter.json"


def count(old: bytes | None, operation: str) -> bytes:
    """Add one to a counter."""
    value: dict[str, Any] = json.loads(old) if old else {"count": 0, "operations": []}
    operations = remember(tuple(value["operations"]), value["count"] + 1, operation)
    return json.dumps({"count": value["count"] + 1, "operations": operations}).encode()


def add(store: FaultyStore, pauses: list[float] | None = None) -> Committed:
    waited: list[float] = [] if pauses is None else pauses
    return compare_and_set(store, KEY, count, sleep=waited.append, jitter=lambda: 0.5)


def counted(store: FaultyStore) -> int:
    return int(json.loads(store.get(KEY))["count"])


def test_first_write_makes_the_object_and_the_next_replaces_it() -> None:
    store = FaultyStore()
    assert add(store).written
    assert add(store).etag == store.head(KEY).etag
    assert counted(store) == 2


@pytest.mark.parametrize("fault", ["lost answer", "refused though written"])
def test_own_write_whose_answer_was_lost_counts_once(fault: Fault) -> None:
    store = FaultyStore()
    store.faults = [fault]
    assert add(store).written
    assert counted(store) == 1
    assert store.conditional_writes == 1


@pytest.mark.parametrize("fault", ["lost answer", "refused though written"])
def test_own_write_is_recognised_below_writes_of_others(fault: Fault) -> None:
    store = FaultyStore()

    def others() -> None:
        for _ in range(OPERATIONS_KEPT - 1):
            compare_and_set(store, KEY, count)

    store.faults, store.between = [fault], others
    assert add(store).written
    assert counted(store) == OPERATIONS_KEPT


@pytest.mark.parametrize("fault", ["lost request", "unavailable"])
def test_write_that_never_arrived_is_made_again(fault: Fault) -> None:
    store, pauses = FaultyStore(), list[float]()
    store.faults = [fault, fault]
    assert add(store, pauses).written
    assert counted(store) == 1
    assert store.conditional_writes == 3
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


@pytest.mark.parametrize("fault", ["lost request", "unavailable"])
def test_write_that_never_arrived_is_decided_again_on_the_others_state(fault: Fault) -> None:
    store = FaultyStore()
    store.faults, store.between = [fault], lambda: compare_and_set(store, KEY, count)
    assert json.loads(add(store).data or b"")["count"] == 2


def test_two_writers_at_once_both_count() -> None:
    store = FaultyStore()
    store.before = lambda: compare_and_set(store, KEY, count)
    assert add(store).written
    assert counted(store) == 2


def test_of_eight_writers_that_come_first_by_chance_none_gives_up() -> None:
    chance = random.Random(1)
    store = FaultyStore()

    def one_of_seven_others() -> None:
        store.before = one_of_seven_others
        if chance.random() < 7 / 8:
            store.put(KEY, count(store.get(KEY) if counted_any(store) else None, "somebody"))

    store.before = one_of_seven_others
    for _ in range(100):
        assert add(store).written


def test_writers_that_are_always_faster_end_in_contended() -> None:
    store = FaultyStore()

    def again() -> None:
        store.put(KEY, count(store.get(KEY) if counted_any(store) else None, "somebody"))
        store.before = again

    store.before = again
    with pytest.raises(Contended) as caught:
        add(store)
    assert caught.value.attempts == ATTEMPTS
    assert store.conditional_writes == ATTEMPTS


def test_what_was_unclear_at_first_is_no_excuse_once_others_are_faster() -> None:
    store = FaultyStore()
    store.faults = ["lost request"]

    def again() -> None:
        store.put(KEY, count(store.get(KEY) if counted_any(store) else None, "somebody"))
        store.before = again

    store.before = again
    with pytest.raises(Contended):
        add(store)


def test_store_that_never_answers_writes_ends_in_outcome_unknown() -> None:
    store = FaultyStore()
    store.faults = ["lost request"] * ATTEMPTS
    with pytest.raises(OutcomeUnknown):
        add(store)
    assert store.conditional_writes == UNCLEAR


def test_store_that_stops_answering_after_a_write_ends_in_outcome_unknown() -> None:
    store = FaultyStore()
    store.faults, store.between = ["lost answer"], lambda: setattr(store, "unreadable", 1)
    with pytest.raises(OutcomeUnknown):
        add(store)


def test_store_that_cannot_be_read_at_first_is_unavailable() -> None:
    store = FaultyStore()
    store.unreadable = 1
    with pytest.raises(StoreUnavailable):
        add(store)
    assert store.conditional_writes == 0


def test_deciding_that_nothing_changes_writes_nothing() -> None:
    store = FaultyStore()
    assert compare_and_set(store, KEY, lambda old, operation: None) == Committed(None, "", written=False)
    assert store.conditional_writes == 0


def test_error_of_the_decision_ends_it() -> None:
    store = FaultyStore()

    def refuse(old: bytes | None, operation: str) -> bytes:
        raise TagMissing("geo", "tag 'x'")

    with pytest.raises(TagMissing):
        compare_and_set(store, KEY, refuse)
    assert store.conditional_writes == 0


def test_only_the_last_64_operations_are_kept() -> None:
    operations: tuple[tuple[int, str], ...] = ()
    for seq in range(100):
        operations = remember(operations, seq, str(seq))
    assert operations == tuple((seq, str(seq)) for seq in range(36, 100))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"operations": 3}', b"[" * 100_000, b"\xff"])
def test_unreadable_object_carries_no_operations(data: bytes) -> None:
    assert list(json_operations(data)) == []


def counted_any(store: FaultyStore) -> bool:
    return any(store.list(KEY))


def test_store_whose_answers_take_long_and_say_nothing_is_not_written_for_ever() -> None:
    store, now = FaultyStore(), [0.0]
    store.faults = ["lost request"] * ATTEMPTS

    def slow(seconds: float) -> None:
        now[0] += 30.0

    with pytest.raises(OutcomeUnknown):
        compare_and_set(store, KEY, count, sleep=slow, clock=lambda: now[0])
    assert (store.conditional_writes, now[0]) == (3, 90.0)
