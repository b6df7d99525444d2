"""Pushes beside a deletion: in every order of their requests, what tags name stays readable to its last byte."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import commit
from store.care.verify import verify
from store.errors import ObjectMissing, PushLost, StaleNode, StoreError, StoreUnavailable
from store.gc_state import decode_gc_state
from store.layout import GC_STATE_KEY, MANIFESTS, PACKS
from store.objects.base import Fetched
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.pull.pull import pull
from store.push.push import Pushed, push
from store.push.reliance import standing
from store.repository import Repository
from store.root import create_store
from tests.support.deletion import Deletion
from tests.support.folders import OLD_NS, held
from tests.support.interleave import Interleaving, Program, Stepping, explore, run_checked

OLD, NEW, PART = "old", "new", "part"
FILES = {OLD: {"a": b"a" * 5000}, NEW: {"n": b"n" * 3000}, PART: {"a": b"a" * 5000, "b": b"b" * 4000}}


class World:
    """A store in which the state OLD is named by no tag any more, and folders to push from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        for name, files in FILES.items():
            (folder / name).mkdir()
            for file, data in files.items():
                (folder / name / file).write_bytes(data)
                os.utime(folder / name / file, ns=(OLD_NS, OLD_NS))
            os.utime(folder / name, ns=(OLD_NS, OLD_NS))
        first = self.store()
        self.state = push(Repository.open(first), folder / OLD, "ds", ["latest"], folder / "setup").manifest
        push(Repository.open(first), folder / NEW, "ds", ["latest"], folder / "setup")
        self.objects = {info.key: first.get(info.key) for info in first.list("")}

    def store(self) -> MemoryStore:
        now = itertools.count(OLD_NS, 1000)
        store = MemoryStore(clock=lambda: next(now))
        for key, data in getattr(self, "objects", {}).items():
            store.put(key, data)
        if not list(store.list("")):
            create_store(store)
        return store

    def pushes(self, state: str, *tags: str, dataset: str = "ds") -> Program:
        def program(objects: Stepping) -> Pushed:
            own = self.folder / f"state {next(self.numbers)}"
            try:
                return push(Repository.open(objects), self.folder / state, dataset, tags, own)
            finally:
                shutil.rmtree(own, ignore_errors=True)

        return program

    def tags_old(self, objects: Stepping) -> str:
        repository = Repository.open(objects)
        content = repository.catalogue.resolve(f"ds@b3-{self.state}").content
        with standing(repository, "ds") as guard:
            repository.catalogue.set_tags("ds", ["1.0.0"], content, op="tag", guard=guard)
        return content.manifest

    def check(self, run: Interleaving) -> None:
        """Every tag is readable to its last byte, is what was pushed, and no success was false."""
        repository = Repository.open(run.inner)
        named: set[str] = set()
        for dataset in repository.catalogue.datasets():
            for tag in repository.catalogue.tags(dataset):
                dest = self.folder / f"dest {next(self.numbers)}"
                state = repository.catalogue.resolve(f"{dataset}:{tag.tag}")
                named.add(state.manifest)
                pull(repository, state, dest, self.folder / "pulled")
                try:
                    assert held(dest) in [held(self.folder / name) for name in FILES]
                finally:
                    shutil.rmtree(dest)
        for outcome in run.outcomes.values():
            match outcome:
                case Pushed():
                    assert outcome.manifest in named
                    assert {state.manifest for tag in outcome.tags for state in _had(repository, outcome, tag)}
                case str():
                    assert outcome in named
                case StoreError():
                    assert isinstance(outcome, PushLost | StaleNode | ObjectMissing)
        assert not list(run.inner.list("pushes/")), "heartbeats are removed"
        assert "deletion" not in run.outcomes or not decode_gc_state(run.inner.get(GC_STATE_KEY)).batches


def _had(repository: Repository, pushed: Pushed, tag: str) -> list[Pushed]:
    entries = repository.catalogue.log(pushed.dataset, tag)
    return [pushed for entry in entries if entry.content and entry.content.manifest == pushed.manifest]


def deletes(*, patient: bool, marked: bool = False) -> Program:
    def program(objects: Stepping) -> None:
        Deletion(objects, objects.memory, until=objects.until if patient else None).run(marked=marked)

    return program


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "_FIRST_PAUSE_S", 0.0)
        yield


Push = Callable[[World], Program]
PUSHES: dict[str, Push] = {
    "of the very state": lambda world: world.pushes(OLD, "latest"),
    "of some of it": lambda world: world.pushes(PART, "latest"),
    "of another dataset": lambda world: world.pushes(PART, "latest", dataset="other"),
    "by a tag alone": lambda world: world.tags_old,
}


@pytest.mark.slow
@pytest.mark.timeout(1200)  # some thousand runs
@pytest.mark.parametrize(
    "kind",
    [kind if kind == "of the very state" else pytest.param(kind, marks=pytest.mark.exhaustive) for kind in PUSHES],
)
def test_nothing_is_lost_in_any_order_of_a_push_and_a_deletion_that_waits_for_it(world: World, kind: str) -> None:
    def start() -> Interleaving:
        return Interleaving(world.store(), {"push": PUSHES[kind](world), "deletion": deletes(patient=True)})

    assert explore(start, world.check) > 50, "they do meet"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1200)  # some thousand runs
def test_nothing_is_lost_in_any_order_of_a_commit_and_a_deletion_that_takes_it_for_dead(world: World) -> None:
    def start() -> Interleaving:
        store = world.store()
        Deletion(store, store, until=None).mark()
        return Interleaving(store, {"push": world.tags_old, "deletion": deletes(patient=False, marked=True)})

    assert explore(start, world.check) > 50, "they do meet"


@given(st.data())
def test_nothing_is_lost_when_two_pushes_and_a_deletion_meet(world: World, data: st.DataObject) -> None:
    first, second = (PUSHES[data.draw(st.sampled_from(sorted(PUSHES)))](world) for _ in range(2))
    patient = data.draw(st.booleans())
    programs = {"one": first, "two": second, "deletion": deletes(patient=patient)}
    # Long runs of one program reach states that even draws do not.
    turns = iter(data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=20, max_size=20)))
    left, turn = 0, 0

    def choose(able: Sequence[str], state: bytes) -> str:
        nonlocal left, turn
        if not left:
            turn, left = next(turns, (turn + 1, 3))
        left -= 1
        return able[turn % len(able)]

    run_checked(Interleaving(world.store(), programs), choose, world.check)


class Unreadable(Wrapper):
    """Fails every fetch of a head."""

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        if key.startswith("datasets/"):
            raise StoreUnavailable(self.address, "told to fail")
        return self._inner.fetch(key, unless=unless)


def test_a_deletion_that_cannot_read_a_root_deletes_nothing(world: World) -> None:
    store = world.store()
    Deletion(store, store, until=None).mark()
    before = {info.key for info in store.list("")}
    with pytest.raises(StoreUnavailable):
        Deletion(Unreadable(store), store, until=None).condemn()
    assert {info.key for info in store.list("")} == before


def test_what_nobody_needs_is_deleted(world: World) -> None:
    store = world.store()
    before = {info.key for prefix in (PACKS, MANIFESTS) for info in store.list(prefix)}
    Deletion(store, store, until=None).run()
    gone = before - {info.key for prefix in (PACKS, MANIFESTS) for info in store.list(prefix)}
    assert sorted(key.partition("/")[0] for key in gone) == ["manifests", "packs"]
    with pytest.raises(ObjectMissing):
        Repository.open(store).manifest(bytes.fromhex(world.state), bytes(32))


def test_a_state_whose_removal_has_begun_is_pushed_again_beside_it(world: World) -> None:
    store = world.store()
    deletion = Deletion(store, store, until=None)
    deletion.mark()
    deletion.condemn()
    before = {info.key for info in store.list(PACKS)}
    pushed = push(Repository.open(store), world.folder / OLD, "ds", ["1.0.0"], world.folder / "again")
    assert pushed.manifest == world.state
    assert len({info.key for info in store.list(PACKS)} - before) == 1
    deletion.delete()
    again = push(Repository.open(store), world.folder / OLD, "ds", ["2.0.0"], world.folder / "once more")
    assert (again.bytes_new, again.puts) == (0, 2), "head and hint: it is found at its second key"
    run = Interleaving(store, {})
    run.outcomes = {"push": pushed, "later": again}
    world.check(run)
    # "latest" named the state in the past; nobody needs that any more, and its first manifest is gone.
    found = verify(store, state=Repository.open(store).catalogue.resolve("ds:2.0.0"), deep=True)
    assert list(found.findings.all()) == []


def test_what_is_marked_is_used_and_is_marked_no_more(world: World) -> None:
    store = world.store()
    Deletion(store, store, until=None).mark()
    assert decode_gc_state(store.get(GC_STATE_KEY)).batches
    pushed = push(Repository.open(store), world.folder / OLD, "ds", ["1.0.0"], world.folder / "marked")
    assert pushed.bytes_new == 0
    assert decode_gc_state(store.get(GC_STATE_KEY)).batches == ()
