"""A tree that hides something passes the cases of every tree, where all that is published there may be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.vfs.visible import VisibleTree
from tests.conformance.tree_cases import Stage, TreeCases
from tests.support.staging import StoreStage
from tests.support.trees import Contents

HIDDEN = ("private", "@geo/private", "@private/maps")


class _VisibleStage:
    def __init__(self, stage: StoreStage) -> None:
        self._stage = stage
        self.tree = VisibleTree(
            stage.tree, readable=lambda name: name not in HIDDEN, public=lambda name: True, generation=lambda: 1
        )

    def publish(self, dataset: str, tag: str, contents: Contents) -> bytes:
        return self._stage.publish(dataset, tag, contents)


class TestVisibleTree(TreeCases):
    @pytest.fixture(params=["memory", "folder", "beside hidden ones"])
    def stage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
        objects: ObjectStore = MemoryStore()
        if request.param == "folder":
            objects = FolderStore(tmp_path / "store", create=True)
        with StoreStage(objects, tmp_path / "work") as stage:
            for name in HIDDEN if request.param == "beside hidden ones" else ():
                stage.publish(name, "1.0.0", {b"secret": b"secret"})
            yield _VisibleStage(stage)
