"""The order of tests, as a pytest plugin: what takes long begins first, so that no process is left with it at the end.

pytest-xdist gives each of its processes as many tests that follow each other, and takes from the end of what one has
left for one that has none. So there is a deck for each process, and each has what takes long at its beginning. Files
with such tests stay whole for the fixtures that they share, and so do folders that share gateways.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import pytest

LONG: Final = ("kernel", "slow", "s3", "interop")  # marks, the longest first
SHARING: Final = Path(__file__).parents[1] / "interop"
T = TypeVar("T")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in order, of which those that are not wanted are out by then."""
    ranks: dict[Path, int] = {}  # of files
    for item in items:
        rank = next((rank for rank, mark in enumerate(LONG) if item.get_closest_marker(mark)), len(LONG))
        ranks[item.path] = min(rank, ranks.get(item.path, len(LONG)))
    groups: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: ranks[item.path]):
        groups[item.path.parent if SHARING in item.path.parents else item.path].append(item)
    rank_of = {group: ranks[tests[0].path] for group, tests in groups.items()}
    items[:] = dealt(groups, rank_of, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def dealt(groups: Mapping[Path, Sequence[T]], ranks: Mapping[Path, int], number: int) -> list[T]:
    """Deal groups of tests that take long in turn, and fill up with the tests of the others.

    Args:
        groups: the tests of files or folders.
        ranks: the place of what takes longest there in `LONG`, and its length for nothing.
        number: of decks.

    Returns:
        The decks, one behind the other.
    """
    ordered = sorted(groups, key=lambda group: (ranks[group], group))
    long = [group for group in ordered if ranks[group] < len(LONG)]
    decks = [list(chain.from_iterable(groups[group] for group in long[turn::number])) for turn in range(number)]
    quick = list(chain.from_iterable(groups[group] for group in ordered[len(long) :]))
    left = len(quick) + sum(map(len, decks))
    for turn, deck in enumerate(decks):
        size = left // (number - turn)
        missing = max(0, size - len(deck))
        deck += quick[:missing]
        del quick[:missing]
        left -= size
    return [*chain.from_iterable(decks), *quick]
