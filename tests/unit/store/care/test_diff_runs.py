"""Runs of entries that are the same in two states are passed over at once, and nothing is missed by it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.care import diff
from store.care.diff import Difference, differences
from store.manifest.view import Manifest
from tests.support.trees import Contents, File, Link
from tests.unit.store.care.test_diff import FOLDERS, flat, found, state

NAMES = [b"%d" % number for number in range(12)]
VALUES = st.sampled_from(
    [b"", b"1", b"2", File(b"1", True, 1), File(b"1", False, 2), Link(b"x"), Link(b"y"), {}, {b"a": b"1"}, {b"b": b"1"}]
)
WIDE = st.dictionaries(st.sampled_from(NAMES), VALUES)
CHANGES = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), VALUES), max_size=3)


def by_entry(before: Contents, after: Contents, monkeypatch: pytest.MonkeyPatch) -> list[Difference]:
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "run", lambda manifest, number, count: None)
        return found(before, after)


@pytest.mark.parametrize("run", [1, 2, 3, 5, 1024])
@given(before=WIDE, changes=CHANGES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_tell_what_a_comparison_entry_by_entry_tells(
    run: int, before: Contents, changes: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    monkeypatch.setattr(diff, "RUN", run)
    assert found(before, after) == by_entry(before, after, monkeypatch)


@given(FOLDERS, FOLDERS)
@settings(max_examples=60)
def test_a_state_holds_all_that_is_not_told_of(before: Contents, after: Contents) -> None:
    told = {difference.path for difference in found(before, after)}
    one, other = flat(before), flat(after)
    assert {path: value for path, value in one.items() if path not in told} == {
        path: value for path, value in other.items() if path not in told
    }


def test_equal_runs_are_not_looked_at_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    before: Contents = {b"%05d" % number: b"x" for number in range(5000)}
    after: Contents = {**before, b"00007": b"changed", b"02000a": b"added"}
    one, other = state(before), state(after)
    looked = 0
    record = Manifest.record

    def counted(manifest: Manifest, number: int) -> object:
        nonlocal looked
        looked += 1
        return record(manifest, number)

    monkeypatch.setattr(Manifest, "record", counted)
    assert [(entry.path, entry.what) for entry in differences(one, other)] == [
        (b"00007", "changed"),
        (b"02000a", "added"),
    ]
    assert looked < 5 * diff.RUN  # the two runs with a difference, in both states
