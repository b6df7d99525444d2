"""In what order tests run."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.order import LONG, dealt

QUICK = len(LONG)
FOLDERS = st.dictionaries(
    st.integers(0, 40).map(lambda number: Path(f"tests/{number}")),
    st.tuples(st.integers(0, QUICK), st.integers(1, 50)),
)


@given(FOLDERS, st.integers(1, 5))
def test_every_test_is_dealt_once_and_folders_that_take_long_stay_whole(
    folders: dict[Path, tuple[int, int]], number: int
) -> None:
    tests = {folder: [(folder, one) for one in range(count)] for folder, (_, count) in folders.items()}
    order = dealt(tests, {folder: rank for folder, (rank, _) in folders.items()}, number)
    assert sorted(order) == sorted(one for some in tests.values() for one in some)
    for folder, some in tests.items():
        if folders[folder][0] < QUICK:
            at = order.index(some[0])
            assert order[at : at + len(some)] == some


def test_each_process_begins_with_what_takes_long() -> None:
    tests = {Path(name): [name] * count for name, count in (("a", 1), ("b", 2), ("c", 1), ("d", 9), ("e", 4))}
    ranks = {Path(name): rank for name, rank in (("a", QUICK), ("b", 1), ("c", 0), ("d", QUICK), ("e", 2))}
    assert "".join(dealt(tests, ranks, 2)) == "ceeeeadd" + "bbddddddd"
    assert "".join(dealt(tests, ranks, 3)) == "caddd" + "bbdddd" + "eeeedd"
