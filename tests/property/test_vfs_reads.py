"""A read through the tree is a slice of the file that was pushed, whatever its holes, chunks and offsets."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from store.objects.memory import MemoryStore
from store.vfs.tree import FileTree, Node
from tests.support.staging import StoreStage
from tests.support.trees import resolve

RUNS = st.lists(
    st.tuples(
        st.sampled_from(["zeros", "noise", "text"]), st.sampled_from([1, 700, 65_536, 262_144, 262_145, 900_000])
    ),
    max_size=5,
)
READS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 1 << 20)), min_size=1, max_size=12)


def content(runs: list[tuple[str, int]]) -> bytes:
    """Return a file made of runs of zeros (long ones become holes), noise and text."""
    parts = []
    for number, (kind, size) in enumerate(runs):
        if kind == "zeros":
            parts.append(bytes(size))
        elif kind == "noise":
            parts.append(random.Random(number).randbytes(size))
        else:
            parts.append((b"line %d\n" % number * (size // 6 + 1))[:size])
    return b"".join(parts)


def joined(views: list[memoryview] | None) -> bytes | None:
    return None if views is None else b"".join(views)


@given(RUNS, READS, st.sampled_from([0, 300_000, 64 << 20]))
def test_a_read_is_that_slice_of_the_file_cold_and_warm(
    runs: list[tuple[str, int]], reads: list[tuple[int, int]], memory: int
) -> None:
    data = content(runs)
    with TemporaryDirectory() as folder, StoreStage(MemoryStore(), Path(folder), memory=memory) as stage:
        stage.publish("maps", "1.0.0", {b"f": data})
        file = resolve(stage.tree, "maps/1.0.0/f")
        assert file.size == len(data)
        for offset, size in reads:
            offset %= len(data) + 2
            compare(stage.tree, file, data, offset, size)
        for edge in (0, 1, 65_536, 262_144, len(data) - 1, len(data), len(data) + 1, 2**63):
            compare(stage.tree, file, data, max(0, edge), 3)
        assert joined(stage.tree.read(file, 0, len(data) + 10)) == data


def compare(tree: FileTree, file: Node, data: bytes, offset: int, size: int) -> None:
    wanted = data[offset : offset + size]
    before = joined(tree.read_warm(file, offset, size))
    assert before in (None, wanted)
    assert joined(tree.read(file, offset, size)) == wanted
    assert joined(tree.read_warm(file, offset, size)) in (None, wanted)
