"""The rule for cut points on the page is the one that the chunker follows."""

from dataclasses import replace
from random import Random

import pytest

from store.chunker import Chunker
from store.root import ChunkerSettings
from tests.conformance.format.cutter import AVG, MAX, MIN, cut

RANDOM = Random(20261122)


@pytest.mark.parametrize(
    "run",
    [
        b"",
        b"x",
        RANDOM.randbytes(MAX),
        RANDOM.randbytes(MAX + 1),
        RANDOM.randbytes(600_001),
        bytes(MAX + MIN),
        bytes(MAX + AVG - 1),
        b"".join(b"%d, %d\n" % (i, RANDOM.randrange(99)) for i in range(50_000)),
    ],
    ids=["empty", "one byte", "max", "max + 1", "odd", "zeros to min", "zeros to avg", "text"],
)
def test_the_rule_on_the_page_cuts_where_the_chunker_cuts(run: bytes) -> None:
    cuts = [*Chunker(ChunkerSettings()).cut(run, first=True, final=True)]
    assert [length for _, length in cuts] == cut(run)


def test_a_window_that_is_not_the_last_is_cut_alike() -> None:
    run = RANDOM.randbytes(900_000)
    chunker = Chunker(ChunkerSettings())
    lengths, at = [], 0
    for end in (400_000, 700_000, len(run)):
        cuts = [*chunker.cut(run[at:end], first=at == 0, final=end == len(run))]
        lengths += [length for _, length in cuts]
        at += sum(length for _, length in cuts)
    assert lengths == cut(run)


@pytest.mark.parametrize("seed", [1, 0x0123456789ABCDEF, 2**63 - 1])
def test_a_seed_changes_the_cuts_as_the_page_says(seed: int) -> None:
    run = RANDOM.randbytes(600_000)
    cuts = [*Chunker(replace(ChunkerSettings(), seed=seed)).cut(run, first=True, final=True)]
    assert [length for _, length in cuts] == cut(run, seed)
    assert cut(run, seed) != cut(run)
