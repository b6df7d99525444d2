"""What is marked and needed is taken out; what is being deleted is told; everything else stays as it was."""

import json

import pytest

from store.digest import PackId
from store.errors import Contended, FeatureMissing, ObjectCorrupt, OutcomeUnknown
from store.gc_state import (
    DELETING,
    GC_STATE_LIMIT,
    GONE,
    MARKED,
    Batch,
    Doomed,
    GcState,
    decode_gc_state,
    encode_gc_state,
    keep,
)
from store.layout import GC_STATE_KEY
from tests.unit.store.faults import FaultyStore

P, Q, R = (PackId(bytes([number]) * 16) for number in (1, 2, 3))
M, N = "a" * 64, "b" * 64


def batch(n: int, phase: str, *packs: PackId, manifests: tuple[str, ...] = ()) -> Batch:
    return Batch(n, phase, 5, frozenset(pack.hex() for pack in packs), frozenset(manifests))


def store_with(*batches: Batch) -> FaultyStore:
    store = FaultyStore()
    store.put(GC_STATE_KEY, encode_gc_state(GcState(next_batch=9, batches=batches), "0" * 24))
    return store


def batches(store: FaultyStore) -> tuple[Batch, ...]:
    return decode_gc_state(store.get(GC_STATE_KEY)).batches


def kept(store: FaultyStore, packs: list[PackId], manifests: tuple[str, ...] = ()) -> Doomed:
    return keep(store, packs, manifests, sleep=lambda seconds: None, jitter=lambda: 0.0)


def test_no_object_means_that_nothing_is_marked_and_nothing_is_written() -> None:
    store = FaultyStore()
    assert not kept(store, [P], (M,))
    assert (store.fetches, store.conditional_writes) == ([GC_STATE_KEY], 0)


def test_what_is_not_listed_costs_one_look() -> None:
    store = store_with(batch(1, MARKED, Q), batch(2, DELETING, R, manifests=(N,)))
    assert not kept(store, [P], (M,))
    assert (len(store.fetches), store.conditional_writes) == (1, 0)


def test_marked_packs_and_manifests_are_taken_out_and_no_others() -> None:
    store = store_with(batch(1, MARKED, P, Q, manifests=(M, N)))
    assert not kept(store, [P], (M,))
    assert batches(store) == (batch(1, MARKED, Q, manifests=(N,)),)


def test_a_batch_of_which_nothing_is_left_goes() -> None:
    store = store_with(batch(1, MARKED, P), batch(2, GONE, Q))
    kept(store, [P])
    assert batches(store) == (batch(2, GONE, Q),)


@pytest.mark.parametrize("phase", [DELETING, GONE, "a later phase"])
def test_what_is_past_marking_is_told_and_stays(phase: str) -> None:
    store = store_with(batch(1, phase, P, Q, manifests=(M,)))
    assert kept(store, [P, R], (M, N)) == Doomed(frozenset({P}), frozenset({M}))
    assert batches(store) == (batch(1, phase, P, Q, manifests=(M,)),)


def test_what_became_deleting_while_it_was_taken_out_is_told() -> None:
    store = store_with(batch(1, MARKED, P))

    def overtake() -> None:
        state = GcState(seq=1, batches=(batch(1, DELETING, P),))
        store.put(GC_STATE_KEY, encode_gc_state(state, "1" * 24))

    store.before = overtake
    assert kept(store, [P]).packs == {P}
    assert batches(store) == (batch(1, DELETING, P),)


def test_a_lost_answer_is_not_taken_for_a_lost_race() -> None:
    store = store_with(batch(1, MARKED, P, Q))
    store.faults = ["lost answer"]
    assert not kept(store, [P])
    assert batches(store) == (batch(1, MARKED, Q),)


def test_marks_that_cannot_be_changed_are_an_error() -> None:
    store = store_with(batch(1, MARKED, P))
    store.faults = ["lost request"] * 20
    with pytest.raises((Contended, OutcomeUnknown)):
        kept(store, [P])


def test_fields_of_later_programs_stay() -> None:
    document = json.loads(encode_gc_state(GcState(batches=(batch(1, MARKED, P, Q),)), "0" * 24))
    document.pop("sum", None)
    document["later"] = 1
    document["batches"][0]["why"] = "old"
    store = FaultyStore()
    store.put(GC_STATE_KEY, json.dumps(document).encode())
    kept(store, [P])
    after = json.loads(store.get(GC_STATE_KEY))
    assert (after["later"], after["batches"][0]["why"], after["seq"]) == (1, "old", document["seq"] + 1)


def test_what_is_no_such_document_is_refused() -> None:
    for data in (b"", b"[]", b"{}", b'{"format":1,"seq":1,"next":1,"batches":[{"n":1}]}', b" " * (GC_STATE_LIMIT + 1)):
        with pytest.raises(ObjectCorrupt):
            decode_gc_state(data)
    with pytest.raises(FeatureMissing):
        decode_gc_state(b'{"format":2}')
    with pytest.raises(ObjectCorrupt):
        decode_gc_state(b'{"format":1,"seq":1,"next":1,"batches":[{"n":1,"phase":"marked","since":1,"packs":[1]}]}')
