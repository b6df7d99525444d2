"""What a heartbeat says, when it is written, and how a push learns that it was given up."""

import json
import threading

import pytest

from store.errors import OutcomeUnknown, PushLost
from store.layout import PUSHES
from store.push.lease import Lease
from tests.unit.store.faults import FaultyStore


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


def beats(store: FaultyStore) -> list[int]:
    return [json.loads(store.get(info.key))["beat"] for info in store.list(PUSHES)]


def never(stop: threading.Event, seconds: float) -> bool:
    return stop.wait()


def new_lease(store: FaultyStore) -> Lease:
    return Lease(store, "ds", wait=never)


def test_nothing_is_written_before_it_begins(store: FaultyStore) -> None:
    lease = new_lease(store)
    assert not lease.begun
    lease.end()
    assert beats(store) == []


def test_it_tells_dataset_and_start_by_the_stores_clock(store: FaultyStore) -> None:
    lease = new_lease(store)
    lease.begin()
    lease.begin()
    document = json.loads(store.get(lease.key))
    assert (document["dataset"], document["started"], document["beat"]) == ("ds", store.time_ns, 1)
    lease.end()
    lease.end()
    assert beats(store) == []


def test_it_beats_until_it_ends(store: FaultyStore) -> None:
    waits: list[float] = []
    enough = threading.Event()

    def wait(stop: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) <= 3:
            return False
        enough.set()
        return stop.wait()

    lease = Lease(store, "ds", every_s=7.0, wait=wait)
    lease.begin()
    assert enough.wait(60)
    assert beats(store) == [4]
    assert set(waits) == {7.0}
    lease.end()
    assert beats(store) == []


def test_a_push_whose_heartbeat_was_removed_is_lost(store: FaultyStore) -> None:
    lease = new_lease(store)
    lease.begin()
    lease.confirm()
    store.delete(lease.key)
    with pytest.raises(PushLost, match="'ds'"):
        lease.confirm()
    lease.beat()
    assert beats(store) == [], "a beat never brings it back"
    lease.end()


def test_a_push_that_a_deletion_has_ended_is_lost_whoever_writes_next(store: FaultyStore) -> None:
    lease = new_lease(store)
    lease.begin()
    store.put(lease.key, b'{"beat":1,"ended":true}')
    lease.beat()
    assert json.loads(store.get(lease.key))["ended"] is True
    with pytest.raises(PushLost):
        lease.confirm()
    lease.end()


@pytest.mark.parametrize("fault", ["lost answer", "lost request", "refused though written", "unavailable"])
def test_a_beat_that_went_wrong_is_no_loss(store: FaultyStore, fault: str) -> None:
    lease = new_lease(store)
    lease.begin()
    store.faults = [fault]  # type: ignore[list-item]  # the parameters are the values of `Fault`
    lease.beat()
    lease.beat()
    lease.beat()
    lease.confirm()
    assert beats(store)[0] >= 2
    lease.end()


def test_an_end_that_cannot_be_told_leaves_the_heartbeat_to_a_deletion(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = new_lease(store)
    lease.begin()

    def fail(key: str) -> None:
        raise OutcomeUnknown(key, "told to fail")

    monkeypatch.setattr(store, "delete", fail)
    lease.end()
    assert beats(store) == [1]


def test_a_store_that_falls_silent_does_not_hold_the_end_up(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, asked = threading.Event(), threading.Event()

    def silent(key: str) -> None:
        asked.set()
        answered.wait(60)

    lease = Lease(store, "ds", wait=never, end_s=0.01)
    lease.begin()
    monkeypatch.setattr(store, "delete", silent)
    lease.end()
    assert not answered.is_set()
    assert asked.wait(60)
    answered.set()
