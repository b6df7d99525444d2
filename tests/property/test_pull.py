"""Any tree that is pushed and pulled arrives as it was; and any later one, pulled over it, as it is then."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from store.pull.compare import together
from store.pull.present import look
from store.pull.pull import PullOptions, pull
from store.push.push import push
from tests.support.folders import held, latest, new_repository

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: name not in (b".", b"..") and not set(name) & {0, 47})
TIMES = st.integers(-(10**18), 4 * 10**18)
RUNS = st.tuples(st.sampled_from([b"\0", b"a", b"some text\n", bytes(range(256))]), st.integers(0, 400_000))


class _File:
    def __init__(self, runs: list[tuple[bytes, int]], executable: bool, mtime_ns: int) -> None:
        self.runs, self.executable, self.mtime_ns = runs, executable, mtime_ns

    def __repr__(self) -> str:
        return f"File({self.runs}, {self.executable}, {self.mtime_ns})"

    def write(self, path: bytes) -> None:
        with open(path, "wb") as file:
            for unit, size in self.runs:
                file.write((unit * (size // len(unit) + 1))[:size])
            file.truncate()
        os.chmod(path, 0o755 if self.executable else 0o644)


FILES = st.builds(_File, st.lists(RUNS, max_size=3), st.booleans(), TIMES)
LINKS = st.tuples(st.binary(min_size=1, max_size=30).filter(lambda target: 0 not in target), TIMES)
Tree = dict[bytes, object]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=4),
    lambda below: st.dictionaries(NAMES, FILES | LINKS | below, max_size=4),
    max_leaves=12,
)


def lay_out(tree: Tree, at: bytes) -> None:
    os.makedirs(at, exist_ok=True)
    for name, entry in tree.items():
        path = os.path.join(at, name)
        if isinstance(entry, _File):
            entry.write(path)
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
        elif isinstance(entry, tuple):
            os.symlink(entry[0], path)
            os.utime(path, ns=(entry[1], entry[1]), follow_symlinks=False)
        else:
            assert isinstance(entry, dict)
            lay_out(entry, path)


def merged(first: Tree, second: Tree) -> Tree:
    """Return a tree that shares much with the first: a mutation of it."""
    return {**dict(list(first.items())[: len(first) // 2 + 1]), **second}


@given(TREES, TREES, st.booleans())
def test_any_tree_arrives_and_any_later_one_over_it(first: Tree, second: Tree, verify: bool) -> None:
    with tempfile.TemporaryDirectory() as base:
        top = Path(base)
        source, dest = top / "source", top / "dest"
        repository = new_repository()
        for tree in (first, merged(first, second), second):
            shutil.rmtree(source, ignore_errors=True)
            lay_out(tree, os.fsencode(source))
            push(repository, source, "ds", ["latest"], top / "push-state")
            pulled = pull(repository, latest(repository), dest, top / "pull-state", PullOptions(verify=verify))
            assert held(dest) == held(source)
            assert pulled.size == sum(entry.stat().st_size for entry in files(source))
        assert [path.name for path in top.iterdir() if path.name.startswith(".")] == []


PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/".join(names)), max_size=12)


@given(PATHS, PATHS, PATHS)
def test_trees_are_gone_through_side_by_side_in_the_order_in_which_they_are_walked(
    one: set[bytes], two: set[bytes], three: set[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as base:
        walked = []
        for number, paths in enumerate((one, two, three)):
            top = os.path.join(os.fsencode(base), b"%d" % number)
            for path in paths:
                os.makedirs(os.path.join(top, path), exist_ok=True)
            walked.append([path for path, _ in look(top)])
        rows = list(together([iter([(path, path) for path in paths]) for paths in walked]))
    assert [path for path, _ in rows] == sorted({path for paths in walked for path in paths}, key=level)
    for number, seen in enumerate(walked):
        assert [row[number] for _, row in rows if row[number] is not None] == seen
    assert all(found in (None, path) for path, row in rows for found in row)


def level(path: bytes) -> tuple[int, list[bytes]]:
    """Return what sorts paths as a manifest does: by depth, then name by name."""
    names = path.split(b"/")
    return len(names), names


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
