"""`tag`, `untag` and `rollback` that die at any write: done or not, never half, and repeating them completes them."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway import stores
from gateway.cli.main import run
from store.catalogue import catalogue as catalogue_module
from store.catalogue.head import Content
from store.catalogue.history import Archive
from store.layout import DATASETS
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.repository import Repository
from store.root import create_store
from tests.faults.steps import DATASET, Killed, Mortal, When, beside, publish, write_folder
from tests.support.s3 import S3Place

WHENS: tuple[When, ...] = ("before", "after")
SMALL_HEAD = 2500  # bytes from which a head spills here, so that each commit writes a segment as well


class Case(NamedTuple):
    """A command, what it makes of the tags (state by number, 0 for none), and how its repetition ends."""

    words: tuple[str, ...]
    tag: str
    state: int
    again: tuple[str, ...]
    done_before: int  # exit code of the repetition where the first one had taken place


CASES = {
    "new version": Case(("tag", "ds:latest", "ds:2.0.0"), "2.0.0", 3, (), 0),
    "moved channel": Case(("tag", "ds:first", "ds:latest"), "latest", 1, (), 0),
    "untagged version": Case(("untag", "ds:1.0.0"), "1.0.0", 0, (), 3),
    "untagged channel": Case(("untag", "ds:qa"), "qa", 0, (), 3),
    "rollback": Case(("rollback", "ds:latest"), "latest", 2, ("--expect", "STATE 3"), 5),
    "rollback to a state without a tag": Case(("rollback", "ds:qa"), "qa", 2, ("--expect", "STATE 1"), 5),
}


class Bench:
    """A store of one dataset that has gone through three states, to be copied for each death."""

    def __init__(self, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        for kind in ("STATE", "CACHE", "CONFIG", "DATA"):
            monkeypatch.setenv(f"XDG_{kind}_HOME", str(work / kind))
        monkeypatch.setenv("AETHERFS_STORE", str(work / "named, never opened"))
        self.begun = MemoryStore()
        create_store(self.begun)
        self.states: list[str] = [""]
        for number in (1, 2, 3):
            write_folder(work / "data", number, files=1, size=1000)
            tags = {1: ("first", "latest", "1.0.0"), 2: ("qa", "latest"), 3: ("third", "latest")}[number]
            self.states.append(publish(self.begun, work / "data", work / "push state", *tags).manifest)
        Repository.open(self.begun).catalogue.set_tags(DATASET, ["qa"], self._content("first"), op="tag")

    def _content(self, tag: str) -> Content:
        return Repository.open(self.begun).catalogue.resolve(f"{DATASET}:{tag}").content

    def copy(self, objects: ObjectStore) -> ObjectStore:
        for info in self.begun.list(""):
            objects.put(info.key, self.begun.get(info.key))
        return objects

    def run(self, objects: ObjectStore, *words: str) -> int:
        """Run a command on these objects."""
        self._monkeypatch.setattr(stores, "open_objects", lambda address, **options: Kept(objects))
        named = {f"STATE {number}": state for number, state in enumerate(self.states)}
        return run([named.get(word, word) for word in words])

    def tags(self, objects: ObjectStore) -> dict[str, str]:
        """Return what each tag names, having read it whole."""
        repository = Repository.open(objects)
        found = {tag.tag: tag.content for tag in repository.catalogue.tags(DATASET)}
        for content in found.values():
            repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root)).check()
        return {tag: content.manifest for tag, content in found.items()}


class Kept(Mortal):
    """Passes everything on but `close`: the test goes on with what a command has closed."""

    def close(self) -> None:
        pass


@pytest.fixture(params=["small head", "spilling head"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if request.param == "spilling head":
        monkeypatch.setattr(catalogue_module, "Archive", functools.partial(Archive, spill_from=SMALL_HEAD, keep=500))
    return Bench(tmp_path, monkeypatch)


def kill_everywhere(bench: Bench, case: Case, fresh: Callable[[str], ObjectStore]) -> None:
    """Die before and after the first write, the second, and so on until a command gets through."""
    before = bench.tags(bench.begun)
    intended = {**before, case.tag: bench.states[case.state]}
    if not case.state:
        del intended[case.tag]
    assert before != intended
    deaths: Iterator[tuple[int, When]] = ((step, when) for step in itertools.count(1) for when in WHENS)
    for step, when in deaths:
        at = f"{when} {step}"
        objects = bench.copy(fresh(at))
        untouched = {info.key for info in objects.list("") if not info.key.startswith(DATASETS)}
        dying = Mortal(objects, step=step, when=when)
        try:
            code = bench.run(dying, *case.words)
        except Killed:
            code = None
        found = bench.tags(objects)
        assert found in (before, intended), at
        assert code is None or (code, found) == (0, intended), at
        if code is None:
            again = bench.run(objects, *case.words, *case.again)
            assert again == (case.done_before if found == intended else 0), at
        assert bench.tags(objects) == intended, at
        assert commits(objects) == commits(bench.begun) + 1, at
        assert untouched <= {info.key for info in objects.list("")}, at
        if code is not None:
            assert step > 2, "it was never killed"
            return


def commits(objects: ObjectStore) -> int:
    return len([*Repository.open(objects).catalogue.log(DATASET)])


@pytest.mark.parametrize("name", CASES)
def test_killed_at_each_write_in_memory(bench: Bench, name: str) -> None:
    kill_everywhere(bench, CASES[name], lambda at: MemoryStore())


@pytest.mark.parametrize("name", CASES)
def test_killed_at_each_write_on_a_folder(bench: Bench, name: str, tmp_path: Path) -> None:
    kill_everywhere(bench, CASES[name], lambda at: FolderStore(tmp_path / "stores" / at, create=True))


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["small head"], indirect=True)
def test_a_rollback_killed_at_each_write_on_s3(bench: Bench, moto_place: S3Place) -> None:
    # What the server makes of conditional writes is found out before, so that each death is in the command's own part.
    assert bench.run(bench.copy(beside(moto_place, "unbroken")), "rollback", "ds:latest") == 0
    kill_everywhere(bench, CASES["rollback"], lambda at: beside(moto_place, at))
