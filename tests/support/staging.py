"""A store to publish into and its tree, for tests: pushes are real, and time moves only when a test says so.

Threads: one test's own.
"""

import itertools
from pathlib import Path

from store.catalogue.catalogue import Catalogue
from store.objects.base import ObjectStore
from store.push.push import push
from store.repository import Repository
from store.root import create_store
from store.vfs.live import FRESH_S
from store.vfs.storetree import StoreTree
from tests.support.trees import Contents, lay_out

MEMORY = 64 << 20


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_freshness(self) -> None:
        """Let so much time pass that nothing counts as fresh."""
        self.now_s += 3 * FRESH_S


class StoreStage:
    """One store; `tree` shows it, `publish` pushes into it as another process would."""

    def __init__(self, objects: ObjectStore, work: Path, *, memory: int = MEMORY) -> None:
        self.objects, self._work, self._memory = objects, work, memory
        self.clock = Clock()
        self._numbers = itertools.count()
        create_store(objects)
        self._writer = Repository.open(objects)
        self.catalogue = self._writer.catalogue
        self.tree = self.opened()

    def opened(self) -> StoreTree:
        """Open one more tree over the store, as another gateway would."""
        repository = Repository.open(self.objects)
        repository.catalogue = Catalogue(self.objects, repository.root, clock=self.clock)
        return StoreTree(repository, memory=self._memory, clock=self.clock)

    def reopen(self) -> None:
        """Close the tree and open it anew: nothing is in memory any more."""
        self.tree.close()
        self.tree = self.opened()

    def publish(self, dataset: str, tag: str, contents: Contents) -> bytes:
        """Push contents under a tag; return the whole id of the state."""
        folder = self._work / f"source{next(self._numbers)}"
        folder.mkdir(parents=True)
        lay_out(contents, folder)
        return self.publish_folder(dataset, tag, folder)

    def publish_folder(self, dataset: str, tag: str, folder: Path) -> bytes:
        """Push a folder under a tag; return the whole id of the state."""
        pushed = push(self._writer, folder, dataset, [tag], self._work / "state")
        self.clock.pass_freshness()
        self.tree.node(self.tree.root().place)  # what `root` knows is what was known last
        return bytes.fromhex(pushed.manifest)

    def close(self) -> None:
        """Close the tree; its threads end."""
        self.tree.close()

    def __enter__(self) -> "StoreStage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
