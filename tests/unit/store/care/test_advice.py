"""What a check advises does heal the store, and what it says does not heal it does not."""

from pathlib import Path

import pytest

from store.care.verify import verify
from store.layout import MANIFESTS, PACKS
from store.objects.memory import MemoryStore
from store.push.push import push
from store.repository import Repository
from store.root import create_store


class Bench:
    """A store to which one folder was pushed."""

    def __init__(self, work: Path) -> None:
        self.folder, self.state = work / "folder", work / "state"
        self.folder.mkdir()
        (self.folder / "file").write_bytes(b"content" * 1000)
        self.objects = MemoryStore()
        create_store(self.objects)
        self.push()

    def push(self) -> None:
        push(Repository.open(self.objects), self.folder, "ds", ["1.0.0"], self.state)

    def lose(self, prefix: str) -> str:
        (lost,) = (info.key for info in self.objects.list(prefix))
        self.objects.delete(lost)
        (finding,) = verify(self.objects).findings.all()
        assert finding.key == lost
        return finding.advice


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_pushing_again_brings_a_missing_manifest_back(bench: Bench) -> None:
    assert bench.lose(MANIFESTS).startswith("push the same files to the same tag again")
    bench.push()
    assert len(verify(bench.objects, deep=True).findings) == 0


def test_an_index_segment_may_be_deleted(bench: Bench) -> None:
    (segment,) = (info.key for info in bench.objects.list("index/"))
    bench.objects.put(segment, b"damaged")
    (finding,) = verify(bench.objects).findings.all()
    assert finding.advice.startswith("delete it")
    bench.objects.delete(segment)
    assert len(verify(bench.objects, deep=True).findings) == 0


def test_pushing_again_does_not_bring_a_missing_pack_back_and_nobody_says_so(bench: Bench) -> None:
    assert "pushing the same files again does not replace it" in bench.lose(PACKS)
    bench.push()
    assert len(verify(bench.objects).findings) == 1
