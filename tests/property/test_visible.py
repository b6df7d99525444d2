"""What one principal may see is a model's: a set of names. Nothing that happens to hidden datasets can be told.

Whatever is published, removed and allowed in whatever order, every answer of the tree, attributes and pages among them,
is the same before and after a change of what is hidden.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import PathMissing, StaleNode
from store.objects.memory import MemoryStore
from store.vfs.tree import FileTree, Kind, Node, Place, Usage
from store.vfs.visible import VisibleTree
from tests.conformance.tree_cases import whole
from tests.support.staging import StoreStage
from tests.support.trees import resolve

NAMES = ("maps", "roads", "@geo/cities", "@geo/roads", "@lab/maps", "@lab/x")
CHANGES = st.lists(
    st.tuples(st.sampled_from(["publish", "remove", "allow"]), st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES))),
    min_size=1,
    max_size=9,
)


class Rules:
    """Who may read what, as a policy would say it."""

    def __init__(self, names: set[str]) -> None:
        self.names, self.generation = names, 1

    def change(self, names: set[str]) -> None:
        self.names, self.generation = names, self.generation + 1

    def over(self, stage: StoreStage) -> VisibleTree:
        return VisibleTree(
            stage.tree,
            readable=lambda name: name in self.names,
            public=lambda name: name in self.names and name.endswith("roads"),
            generation=lambda: self.generation,
        )


class Seen(NamedTuple):
    """One node, and what is told of it."""

    node: Node
    parent: Node
    usage: Usage
    open_to_all: bool


def observe(tree: FileTree) -> dict[str, Seen]:
    """Return everything that can be told of a tree by listing it, page by page."""
    seen: dict[str, Seen] = {}
    waiting = [("", tree.node(tree.root().place))]
    while waiting:
        path, node = waiting.pop()
        seen[path] = Seen(node, tree.parent(node), tree.usage(node), tree.open_to_all(node))
        if node.kind is Kind.FOLDER:
            waiting += [(f"{path}/{entry.name.decode()}", entry.node) for entry in whole(tree, node, page=2).entries]
    return seen


def datasets_of(seen: dict[str, Seen]) -> set[str]:
    """Return the datasets among what was seen."""
    return {path[1:] for path in seen if path.count("/") == (2 if path.startswith("/@") else 1) and path[1:] in NAMES}


def calls(tree: FileTree, node: Node) -> Iterator[Callable[[], object]]:
    """Yield every way to ask about a node of a dataset."""
    yield lambda: tree.node(node.place)
    yield lambda: tree.node_warm(node.place)
    yield lambda: tree.parent(node)
    yield lambda: tree.parent_warm(node)
    yield lambda: tree.usage(node)
    if node.kind is Kind.FOLDER:
        yield lambda: tree.lookup(node, b"f")
        yield lambda: tree.lookup_warm(node, b"f")
        yield lambda: tree.children(node)
        yield lambda: tree.children_warm(node)
    if node.kind is Kind.FILE:
        yield lambda: tree.read(node, 0, 1)
        yield lambda: tree.read_warm(node, 0, 1)
        yield lambda: tree.digests(node)
        yield lambda: tree.digests_warm(node)
        yield lambda: tree.digests_of([node])
    if node.kind is Kind.LINK:
        yield lambda: tree.readlink(node)
        yield lambda: tree.readlink_warm(node)
    if node.place.manifest != bytes(16):
        yield lambda: tree.following(node)
        yield lambda: tree.following_warm(node)


def warm_agrees(tree: FileTree, seen: dict[str, Seen]) -> None:
    """Check that memory says the same as the store, where it says something."""
    for node, above, _, _ in seen.values():
        assert tree.node_warm(node.place) in (None, node)
        assert tree.parent_warm(node) in (None, above)
        if node.kind is Kind.FOLDER:
            warm, listed = tree.children_warm(node), tree.children(node)
            assert warm is None or list(warm.entries) == list(listed.entries)
            for entry in listed.entries:
                assert tree.lookup_warm(node, entry.name) in (None, entry.node)
                assert tree.lookup(node, entry.name) == entry.node


def absent(tree: FileTree, name: str) -> None:
    """Check that a dataset can't be found by its name, cold nor warm."""
    scope, _, last = name.rpartition("/")
    try:
        folder = resolve(tree, scope)
    except PathMissing:
        assert scope
        return
    with pytest.raises(PathMissing):
        tree.lookup(folder, last.encode())
    with pytest.raises(PathMissing):
        tree.lookup_warm(folder, last.encode())


@given(st.sets(st.sampled_from(NAMES)), CHANGES)
def test_what_is_shown_is_what_may_be_read_and_tells_of_nothing_else(
    names: set[str], changes: list[tuple[str, str, set[str]]]
) -> None:
    rules = Rules(names)
    there: set[str] = set()
    known: dict[str, list[Node]] = {}  # nodes that were seen at any time, by dataset
    with TemporaryDirectory() as work, StoreStage(MemoryStore(), Path(work)) as stage:
        tree = rules.over(stage)
        before = observe(tree)
        for kind, name, allowed in changes:
            shown = there & rules.names
            if kind == "publish":
                stage.publish(name, "latest", {b"f": name.encode() + bytes([len(before)]), b"sub": {b"g": b"g"}})
                there.add(name)
            elif kind == "remove" and name in there:
                stage.catalogue.delete(name)
                stage.clock.pass_freshness()
                there.remove(name)
            elif kind == "allow":
                rules.change(allowed)
            observe(stage.tree)  # as others do who may see more
            after = observe(tree)
            assert datasets_of(after) == there & rules.names
            scopes = {path for path in after if path.startswith("/@") and path.count("/") == 1}
            assert scopes == {f"/{shown.partition('/')[0]}" for shown in there & rules.names if "/" in shown}
            root = after[""].node
            assert root.size == len([path for path in after if path and path.count("/") == 1])
            if kind != "allow" and name not in rules.names:
                assert after == before
            elif there & rules.names != shown or (kind == "publish" and name in rules.names):
                assert root.mtime_ns != before[""].node.mtime_ns
            if kind == "publish" and name in rules.names:
                assert root.mtime_ns > before[""].node.mtime_ns
            warm_agrees(tree, after)
            for path, found in after.items():
                if path.startswith("/") and (owner := owner_of(path)) is not None:
                    known.setdefault(owner, []).append(found.node)
                    assert found.open_to_all == owner.endswith("roads")
                else:
                    assert not found.open_to_all
            for hidden in set(NAMES) - rules.names:
                absent(tree, hidden)
                for node in known.get(hidden, []):
                    for call in calls(tree, node):
                        with pytest.raises(StaleNode):
                            call()
            before = after


def owner_of(path: str) -> str | None:
    parts = path[1:].split("/")
    name = "/".join(parts[:2]) if parts[0].startswith("@") else parts[0]
    return name if name in NAMES else None


def test_a_name_that_may_not_be_read_is_not_asked_of_the_store(tmp_path: Path) -> None:
    with StoreStage(MemoryStore(), tmp_path) as stage:
        for name in ("maps", "hidden", "@geo/roads", "@geo/hidden"):
            stage.publish(name, "1.0.0", {b"f": b"f"})
        tree = Rules({"maps", "@geo/roads"}).over(stage)
        root, scope = tree.node(tree.root().place), resolve(tree, "@geo")
        stage.clock.pass_freshness()
        asked: list[str] = []
        fetch = stage.tree.live.view

        def noted(name: str) -> object:
            asked.append(name)
            return fetch(name)

        stage.tree.live.view = noted  # type: ignore[method-assign, assignment]  # to see what is asked
        for folder in (root, scope):
            for absent_name in (b"hidden", b"never-there"):
                with pytest.raises(PathMissing):
                    tree.lookup(folder, absent_name)
        assert asked == []
        assert tree.lookup(root, b"maps").place.dataset
        assert asked == ["maps"]


def test_a_state_is_found_by_its_id_below_its_own_dataset_alone(tmp_path: Path) -> None:
    with StoreStage(MemoryStore(), tmp_path) as stage:
        secret = stage.publish("hidden", "1.0.0", {b"f": b"secret"}).hex()
        stage.publish("maps", "1.0.0", {b"f": b"maps"})
        theirs = resolve(stage.tree, "hidden/1.0.0/f")
        tree = Rules({"maps"}).over(stage)
        maps = resolve(tree, "maps")
        for digits in (secret, secret[:32], secret[:12]):
            with pytest.raises(PathMissing):
                tree.lookup(maps, f"b3-{digits}".encode())
        mixed = Place(theirs.place.space, maps.place.dataset, 1, theirs.place.manifest, theirs.place.record)
        with pytest.raises(StaleNode):
            tree.node(mixed)
        assert tree.node_warm(mixed) is None


def test_a_large_store_is_chosen_from_where_somebody_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.vfs.visible.QUICK", 2)
    with StoreStage(MemoryStore(), tmp_path) as stage:
        for name in ("a", "b", "c"):
            stage.publish(name, "1.0.0", {})
        rules = Rules({"a", "b"})
        tree = rules.over(stage)
        root = tree.root()
        assert tree.children_warm(root) is None
        listed = tree.children(root)
        warm = tree.children_warm(root)
        assert warm is not None
        assert list(warm.entries) == list(listed.entries)
        rules.change({"a"})
        assert tree.node_warm(root.place) is None
        assert tree.node(root.place).size == 1


@pytest.mark.parametrize("folder", ["", "@geo"])
def test_what_a_rule_shows_and_hides_moves_the_times_of_the_folder(tmp_path: Path, folder: str) -> None:
    with StoreStage(MemoryStore(), tmp_path) as stage:
        for name in ("old", "new"):
            stage.publish(f"{folder}/{name}".lstrip("/"), "1.0.0", {})
        rules = Rules({f"{folder}/new".lstrip("/")})
        tree = rules.over(stage)
        before = tree.node(resolve(tree, folder).place)
        rules.change({f"{folder}/{name}".lstrip("/") for name in ("old", "new")})
        shown = tree.node(before.place)
        assert shown.mtime_ns != before.mtime_ns
        assert abs(shown.mtime_ns - before.mtime_ns) < 1_000_000
        rules.change({f"{folder}/new".lstrip("/")})
        assert tree.node(before.place).mtime_ns == before.mtime_ns
