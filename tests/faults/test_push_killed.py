"""A push that dies before or after any write: what was published stays whole, and the next push does only the rest."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.digest import PackId
from store.layout import PACKS
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.pack import read_footer
from store.pull.pull import pull
from store.push.journal import Journal
from store.push.push import Pushed
from store.root import StoreRoot, create_store
from tests.faults.steps import (
    DATASET,
    KILLED,
    Killed,
    Mortal,
    When,
    beside,
    encrypted,
    opened,
    publish,
    small_packs,
    write_folder,
)
from tests.support.folders import held
from tests.support.s3 import S3Place

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 5  # every so manieth step, where all would take too long


class Bench:
    """Stores that hold one state, `1.0.0` and `latest`, and two folders: that state, and the next one."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.old, self.new = work / "old", work / "new"
        write_folder(self.old, 1)
        write_folder(self.new, 1, files=2)
        write_folder(self.new / "more", 2)

    def begin(self, objects: ObjectStore, encrypt: Callable[[StoreRoot], StoreRoot] | None = None) -> ObjectStore:
        create_store(objects, encrypt=encrypt)
        publish(objects, self.old, self.work / "other state", "1.0.0", "latest")
        return objects

    def push(self, objects: ObjectStore, state: Path) -> Pushed:
        return publish(objects, self.new, state, "2.0.0", "latest")

    def journalled(self, objects: ObjectStore, state: Path) -> int:
        """Return the plain bytes of the packs that a push noted before it died."""
        repository = opened(objects)
        packs = {pack for path in state.rglob("*.journal") for pack in Journal(path, repository.veil).packs()}
        return sum(block.plain for pack in packs for block in read_footer(repository.objects, PackId(pack)))

    def holds(self, objects: ObjectStore, tag: str, folder: Path, at: str) -> None:
        """Every byte that a tag names arrives."""
        repository = opened(objects)
        dest = self.work / f"pulled {at}"
        pull(repository, repository.catalogue.resolve(f"{DATASET}:{tag}"), dest, self.work / "pull state")
        assert held(dest) == held(folder), at
        shutil.rmtree(dest)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    small_packs(monkeypatch)
    return Bench(tmp_path)


def steps_of(bench: Bench, objects: ObjectStore) -> tuple[int, Pushed]:
    """Return how many writes a push makes that nobody kills, and what it moves."""
    counting = Mortal(objects)
    pushed = bench.push(counting, bench.work / "unbroken state")
    assert sum(key.startswith(PACKS) for key in counting.writes) >= 4
    return len(counting.writes), pushed


def check(bench: Bench, objects: ObjectStore, state: Path, whole: Pushed, at: str) -> int:
    """Hold the store, and what the next push does, against what a kill may leave; return the bytes not sent again."""
    catalogue = opened(objects).catalogue
    bench.holds(objects, "1.0.0", bench.old, at)
    there = {tag.tag: tag.content.manifest for tag in catalogue.tags(DATASET)}
    assert ("2.0.0" in there) == (there["latest"] == whole.manifest), f"{at}: one tag moved without the other"
    bench.holds(objects, "latest", bench.new if "2.0.0" in there else bench.old, at)
    done = "2.0.0" in there
    kept = bench.journalled(objects, state)
    before = {info.key for info in objects.list(PACKS)}
    again = bench.push(objects, state)
    assert again.manifest == whole.manifest
    assert again.changed != done
    assert again.bytes_new == (0 if done else whole.bytes_new - kept), at
    if again.bytes_new == 0:
        assert {info.key for info in objects.list(PACKS)} == before
    for tag, folder in (("1.0.0", bench.old), ("2.0.0", bench.new), ("latest", bench.new)):
        bench.holds(objects, tag, folder, at)
    assert len([entry for entry in catalogue.log(DATASET) if "2.0.0" in entry.tags]) == 1
    return kept


def kill_everywhere(bench: Bench, fresh: Callable[[str], ObjectStore], *, every: int = 1) -> None:
    steps, whole = steps_of(bench, fresh("unbroken"))
    killed = 0
    kept: set[int] = set()
    for step in range(1, steps + 1, every):
        for when in ("before", "after"):
            at = f"{when} {step}"
            objects = fresh(at)
            try:
                bench.push(Mortal(objects, step=step, when=when), bench.work / at)
            except Killed:
                killed += 1
            kept.add(check(bench, objects, bench.work / at, whole, at))
    assert killed >= 2 * len(range(1, steps + 1, every)) - 2  # threads may need a write fewer now and then
    assert len(kept) > 1
    if every == 1:
        assert max(kept) == whole.bytes_new  # once all packs are confirmed, nothing is sent again


def test_killed_at_each_write_on_a_folder_nothing_is_lost_and_little_is_sent_again(bench: Bench) -> None:
    bench.begin(FolderStore(bench.work / "begun", create=True)).close()

    def fresh(name: str) -> ObjectStore:
        shutil.copytree(bench.work / "begun", bench.work / "store" / name)
        return FolderStore(bench.work / "store" / name)

    kill_everywhere(bench, fresh)


def test_killed_at_each_write_of_an_encrypted_store_nothing_is_lost_and_little_is_sent_again(bench: Bench) -> None:
    """Each attempt opens the store by its key anew, and the packs that it does not send again are of another salt."""
    begun = bench.begin(MemoryStore(), encrypted)
    assert not any(DATASET in info.key.split("/") for info in begun.list(""))

    def fresh(name: str) -> ObjectStore:
        copy = MemoryStore()
        for info in begun.list(""):
            copy.put(info.key, begun.get(info.key))
        return copy

    kill_everywhere(bench, fresh)


@pytest.mark.slow
def test_killed_at_each_write_on_s3_nothing_is_lost_and_little_is_sent_again(bench: Bench, moto_place: S3Place) -> None:
    kill_everywhere(bench, lambda name: bench.begin(beside(moto_place, name)))


@pytest.mark.slow
@pytest.mark.s3
def test_killed_on_a_real_s3_server_nothing_is_lost_and_little_is_sent_again(
    bench: Bench, seaweed_place: S3Place
) -> None:
    kill_everywhere(bench, lambda name: bench.begin(beside(seaweed_place, name)), every=SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_is_gone_at_once_leaves_no_more_than_one_that_raises(bench: Bench, when: When) -> None:
    bench.begin(FolderStore(bench.work / "begun", create=True)).close()
    shutil.copytree(bench.work / "begun", bench.work / "unbroken")
    steps, whole = steps_of(bench, FolderStore(bench.work / "unbroken"))
    kept: set[int] = set()
    for step in range(1 if when == "before" else 2, steps + 1, 2):
        at = f"{when} {step}"
        place = bench.work / f"store {at}"
        shutil.copytree(bench.work / "begun", place)
        program = [sys.executable, "-P", "-m", "tests.faults.steps"]
        ended = subprocess.run(
            [*program, place, bench.new, bench.work / at, str(step), when], timeout=60, cwd=ROOT, check=False,
            env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert ended.returncode in (KILLED, 0)
        kept.add(check(bench, FolderStore(place), bench.work / at, whole, at))
    assert len(kept) > 1
