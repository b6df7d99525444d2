"""A small store with states that deletion is after, programs that want them meanwhile, and what must hold."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from store.cache import ByteCache
from store.catalogue.head import Head, decode_head
from store.errors import ObjectMissing, PushLost, StaleNode, StoreError
from store.layout import DATASETS, MANIFESTS, PACKS, PUSHES, dataset_of_key, manifest_key, pack_key
from store.manifest.view import open_manifest
from store.objects.base import ObjectStore
from store.pull.pull import pull
from store.push.push import Pushed, push
from store.push.reliance import packs_of, standing
from store.repository import Repository
from store.root import create_store
from tests.support.deletion import Deletion, Rules
from tests.support.folders import OLD_NS, held
from tests.support.interleave import TICK_NS, Interleaving, Killed, Objects, Program, Snapshot, State, Steps

OLD, NEW, PART = "old", "new", "part"
FILES = {OLD: {"a": b"a" * 5000}, NEW: {"n": b"n" * 3000}, PART: {"a": b"a" * 5000, "b": b"b" * 4000}}
RULES = Rules(grace_ns=TICK_NS, dead_ns=2 * TICK_NS, late_ns=TICK_NS)
HASTY = Rules(grace_ns=0, dead_ns=0, late_ns=TICK_NS)

Body = Callable[[Steps], object]


class Patient(Snapshot):
    """A store alone, where time passes when it is waited for."""

    def wait(self, prefix: str, ready: Callable[[Snapshot], bool]) -> None:
        """Let the clock move until `ready`."""
        while not ready(self):
            self.tick += 1


class World:
    """A store in which the state OLD is named by no tag any more, and folders to push from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._pulled: set[tuple[object, ...]] = set()
        self._manifests: dict[tuple[str, ...], tuple[str, ...]] = {}
        for name, files in FILES.items():
            (folder / name).mkdir()
            for file, data in files.items():
                (folder / name / file).write_bytes(data)
                os.utime(folder / name / file, ns=(OLD_NS, OLD_NS))
            os.utime(folder / name, ns=(OLD_NS, OLD_NS))
        store = Patient({}, 0)
        create_store(store)
        self.states = {}
        for state in (OLD, NEW):
            self.states[state] = push(Repository.open(store), folder / state, "ds", ["latest"], self.was_here).manifest
        self.objects: Objects = store.objects

    @property
    def was_here(self) -> Path:
        """Where the first pushes, of OLD and of NEW, have noted how the folders looked."""
        return self.folder / "was here"

    def store(self, objects: Objects | None = None) -> Patient:
        return Patient(dict(self.objects if objects is None else objects), 0)

    # programs

    def pushes(self, state: str, *tags: str, dataset: str = "ds", again: bool = False, resumes: bool = False) -> Body:
        """Push a folder.

        Args:
            state: the folder.
            tags: what is to name it.
            dataset: of the tags.
            again: where it was pushed before, with what was noted then.
            resumes: once more after it was killed, with its journal.
        """

        def body(objects: Steps) -> Pushed:
            own = self.folder / f"state {next(self._numbers)}"
            if again:
                shutil.copytree(self.was_here, own)
            try:
                while True:
                    try:
                        return push(Repository.open(objects), self.folder / state, dataset, tags, own)
                    except Killed:
                        if not resumes:
                            raise
                        objects.revive()
            finally:
                shutil.rmtree(own, ignore_errors=True)

        return body

    def tags_old(self, objects: ObjectStore) -> str:
        """Name OLD again, by its digest."""
        repository = Repository.open(objects)
        content = repository.catalogue.resolve(f"ds@b3-{self.states[OLD]}").content
        with standing(repository, "ds") as guard:
            repository.catalogue.set_tags("ds", ["1.0.0"], content, op="tag", guard=guard)
        return content.manifest

    def rolls_back(self, objects: Steps) -> str:
        """Make `latest` name OLD again."""
        repository = Repository.open(objects)
        with standing(repository, "ds") as guard:
            repository.catalogue.rollback("ds", "latest", guard=guard)
        return self.states[OLD]

    @staticmethod
    def untags(objects: Steps) -> None:
        """Let nothing name NEW any more."""
        Repository.open(objects).catalogue.untag("ds", "latest")

    @staticmethod
    def deletes(rules: Rules, *, kind: type[Deletion] = Deletion) -> Body:
        """Delete what nothing needs; once more where it is killed."""

        def body(objects: Steps) -> None:
            while True:
                try:
                    return kind(objects, rules).run()
                except Killed:
                    objects.revive()

        return body

    # what must hold

    def interleaving(
        self, *programs: Program, ticks: int = 0, store: Snapshot | None = None, rules: Rules = RULES
    ) -> Interleaving:
        return Interleaving(
            store or self.store(),
            programs,
            ticks=ticks,
            always=lambda state: self.readable(state.objects, rules),
            finally_=lambda state: self.ended(state, rules),
        )

    def readable(self, objects: Objects, rules: Rules) -> None:
        """All that is kept is there: manifests, and the packs that they name."""
        store = Patient(objects, 0)
        for dataset, head in self._heads(store):
            for content in Deletion(store, rules).roots(head):
                for key in self._needs(store, content.manifest, content.root):
                    assert key in objects, f"{dataset} needs {key}"

    def _heads(self, store: Snapshot) -> Iterator[tuple[str, Head]]:
        for info in store.list(DATASETS):
            dataset = dataset_of_key(info.key)
            assert dataset is not None
            yield dataset, decode_head(dataset, store.get(info.key))

    def _needs(self, store: Snapshot, id: str, root: str) -> tuple[str, ...]:
        there = [store.objects.get(key) for key in (manifest_key(id), manifest_key(id, root))]
        key = (root, *(of.etag if of else "" for of in there))
        found = self._manifests.get(key)
        if found is None:
            manifest = open_manifest(store, bytes.fromhex(id), bytes.fromhex(root), ByteCache(1 << 20))
            packs = (pack_key(pack.hex()) for pack in packs_of(manifest))
            found = self._manifests[key] = (manifest.key, *packs)
        return found

    def ended(self, state: State, rules: Rules) -> None:
        """Every tag is readable to its last byte, no success was false, and a last deletion leaves what is needed."""
        self._hold_outcomes(state)
        store = Patient(dict(state.objects), state.tick)
        self._hold_bytes(store)
        Deletion(store, rules).run()  # with what has gathered in `gc/state`
        Deletion(store, rules).run()
        self.readable(store.objects, rules)
        self._hold_bytes(store)
        needed = Deletion(store, rules).needed()
        left = {info.key.rpartition("/")[2] for prefix in (PACKS, MANIFESTS) for info in store.list(prefix)}
        assert left <= needed, "all that nobody needs is gone"
        if not any(node.kills for node in state.nodes):
            assert not list(store.list(PUSHES)), "heartbeats are gone"

    def _hold_outcomes(self, state: State) -> None:
        repository = Repository.open(Snapshot(state.objects, 0))
        for node in state.nodes:
            match node.outcome:
                case Pushed(dataset=dataset, manifest=manifest, tags=tags):
                    for tag in tags:
                        entries = repository.catalogue.log(dataset, tag)
                        assert any(entry.content and entry.content.manifest == manifest for entry in entries)
                case str(manifest) if manifest != "killed":
                    entries = repository.catalogue.log("ds")
                    assert any(entry.content and entry.content.manifest == manifest for entry in entries)
                case StoreError() as error:
                    assert isinstance(error, PushLost | StaleNode | ObjectMissing), error

    def _hold_bytes(self, store: Snapshot) -> None:
        prefixes = (DATASETS, MANIFESTS, PACKS)
        total = tuple(sorted((info.key, info.etag) for prefix in prefixes for info in store.list(prefix)))
        if total in self._pulled:
            return
        repository = Repository.open(store)
        for dataset in repository.catalogue.datasets():
            for tag in repository.catalogue.tags(dataset):
                dest = self.folder / f"dest {next(self._numbers)}"
                pull(repository, repository.catalogue.resolve(f"{dataset}:{tag.tag}"), dest, self.folder / "pulled")
                try:
                    assert held(dest) in [held(self.folder / name) for name in FILES]
                finally:
                    shutil.rmtree(dest)
        self._pulled.add(total)
