"""Heads with a past: whatever was done to tags is no fault, and every segment of history that is damaged is one."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.care.findings import Finding
from store.care.verify import verify
from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.catalogue.history import Archive
from store.errors import BadName, Conflict, Missing
from store.layout import dataset_key, manifest_key
from store.objects.memory import MemoryStore
from store.root import create_store
from tests.support.manifests import build, item_of

STATES = 4
TAGS = ("latest", "stable", "1.0.0", "2.0.0")


class Bench:
    """A catalogue whose head spills at once, and some states to name."""

    def __init__(self, *, spill_from: int = 2000) -> None:
        self.store = MemoryStore()
        root = create_store(self.store).root
        self.contents = [self._state(n) for n in range(STATES)]
        archive = Archive(self.store, spill_from=spill_from, keep=600)
        self.catalogue = Catalogue(self.store, root, archive=archive, sleep=lambda _: None)

    def _state(self, n: int) -> Content:
        built = build(item_of({f"empty{n}".encode(): b""}))
        self.store.put(manifest_key(built.id.hex()), built.data)
        return Content(built.id.hex(), built.root.hex(), built.size, built.files)

    def name(self, tag: str, state: int) -> None:
        self.catalogue.set_tags("ds", [tag], self.contents[state])

    def segments(self) -> list[str]:
        return sorted(info.key for info in self.store.list("history/"))

    def findings(self) -> dict[str, Finding]:
        return {finding.key: finding for finding in verify(self.store).findings.all()}


def do(bench: Bench, step: tuple[str, str, int]) -> None:
    what, tag, state = step
    if what == "name":
        bench.name(tag, state)
    elif what == "untag":
        bench.catalogue.untag("ds", tag)
    elif what == "rollback":
        bench.catalogue.rollback("ds", tag)
    else:
        bench.catalogue.delete("ds")


STEPS = st.tuples(
    st.sampled_from(["name", "name", "name", "untag", "rollback", "delete"]),
    st.sampled_from(TAGS),
    st.integers(0, STATES - 1),
)


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=30))
def test_nothing_that_can_be_done_to_tags_is_a_fault(steps: list[tuple[str, str, int]]) -> None:
    bench = Bench()
    for step in steps:
        try:
            do(bench, step)
        except (Conflict, Missing, BadName):
            continue
    assert bench.findings() == {}


def without_sum(head: bytes) -> bytes:
    """Return a head as a program writes it that keeps no sums."""
    document = json.loads(head)
    document.pop("sum", None)
    return padded(json.dumps(document))


def padded(text: str) -> bytes:
    return text.encode() + b" " * (-len(text.encode()) % 256)  # of the length of one that is not deleted


@pytest.fixture
def long() -> Bench:
    """Return a bench whose dataset was moved often, so that history lies in segments of segments, and tags too."""
    bench = Bench()
    for n in range(60):
        bench.name("latest", n % STATES)
        bench.name(f"{n}.0.0", n % STATES)
    assert len(bench.segments()) > 20
    return bench


def test_a_long_history_is_no_fault_and_names_every_state(long: Bench) -> None:
    done = verify(long.store)
    assert done.findings.all() == []
    assert done.states == STATES


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, lambda data: data[:-1], lambda data: data.replace(b"1", b"2", 1)])
def test_every_damaged_segment_in_use_is_found(long: Bench, damage: Callable[[bytes], bytes] | None) -> None:
    used = 0
    for key in long.segments():
        whole = long.store.get(key)
        if damage is None:
            long.store.delete(key)
        else:
            long.store.put(key, damage(whole))
        found = long.findings()
        long.store.put(key, whole)
        if found:  # others were merged into later ones: nothing names them any more
            used += 1
            assert list(found) == [key]
            assert (found[key].names, found[key].missing, found[key].kind) == (["ds"], damage is None, "history")
    assert used > 1


def test_a_tag_that_was_renamed_in_a_head_is_held_against_its_history(long: Bench) -> None:
    key = dataset_key("ds")
    long.store.put(key, without_sum(long.store.get(key).replace(b'"latest":{', b'"lbtest":{')))
    found = long.findings()
    assert list(found) == [key]
    assert {"ds:latest", "ds:lbtest"} <= set(found[key].names)


@pytest.mark.parametrize("field", ["tags", "tagged", "older", "history", "next", "operations"])
def test_a_head_that_lacks_a_field_is_not_taken_as_one_without_tags(long: Bench, field: str) -> None:
    key = dataset_key("ds")
    document = json.loads(without_sum(long.store.get(key)))
    del document[field]
    long.store.put(key, padded(json.dumps(document)))
    assert key in long.findings()


def test_a_head_without_a_sum_is_no_fault(long: Bench) -> None:
    key = dataset_key("ds")
    long.store.put(key, without_sum(long.store.get(key)))
    assert long.findings() == {}


def test_a_head_that_is_gone_is_missed_where_its_history_is_there(long: Bench) -> None:
    key = dataset_key("ds")
    long.store.delete(key)
    (found,) = long.findings().values()
    assert (found.key, found.missing, found.names) == (key, True, ["ds"])
