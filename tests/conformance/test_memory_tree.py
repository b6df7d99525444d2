"""The test double passes the cases of the real tree, so that front ends tested on it are tested on the seam."""

import pytest

from tests.conformance.tree_cases import Stage, TreeCases
from tests.support.trees import Contents, MemoryTree


class _MemoryStage:
    def __init__(self) -> None:
        self.tree = MemoryTree()

    def publish(self, dataset: str, tag: str, contents: Contents) -> bytes:
        return self.tree.publish(dataset, tag, contents)


class TestMemoryTree(TreeCases):
    @pytest.fixture
    def stage(self) -> Stage:
        return _MemoryStage()
