"""The real tree passes the cases of every tree, over objects in memory and in a folder, cold and warm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from tests.conformance.tree_cases import Stage, TreeCases
from tests.support.staging import StoreStage


class TestStoreTree(TreeCases):
    @pytest.fixture(params=["memory", "folder"])
    def stage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
        objects: ObjectStore = MemoryStore()
        if request.param == "folder":
            objects = FolderStore(tmp_path / "store", create=True)
        with StoreStage(objects, tmp_path / "work") as stage:
            yield stage
