"""A warmed state is read without the store; what does not fit is told."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from store.care.warm import Warmed, warm
from store.catalogue.catalogue import State
from store.errors import NotAFolder, PathMissing, StoreUnavailable
from store.kinds import Kind
from store.objects.memory import MemoryStore
from store.objects.pieces import SMALLEST, PieceCache
from store.push.push import push
from store.repository import Repository
from store.root import ENCRYPTION, StoreRoot, create_store, in_plain
from store.sealing.key_source import GivenKey, make_envelope
from store.secret import Secret
from store.vfs.opening import open_tree
from store.vfs.storetree import StoreTree
from store.vfs.tree import Node
from tests.support.folders import Failing, latest, new_repository
from tests.support.trees import lay_out
from tests.unit.store.care.test_verify import noise

FILES = {b"a": noise(1, 3_000_000), b"sub/b": noise(2, 700_000), b"sub/deep/c": b"c" * 400_000}


class Bench:
    """A store with one state, and a cache folder."""

    def __init__(self, work: Path) -> None:
        (work / "folder").mkdir()
        lay_out(
            {b"a": FILES[b"a"], b"sub": {b"b": FILES[b"sub/b"], b"deep": {b"c": FILES[b"sub/deep/c"]}, b"none": b""}},
            work / "folder",
        )
        self.repository, self.cache = new_repository(), work / "cache"
        push(self.repository, work / "folder", "ds", ["latest"], work / "state")

    @property
    def state(self) -> State:
        return latest(self.repository)

    def warm(self, path: bytes = b"", *, limit: int = 1 << 30) -> Warmed:
        return warm(self.repository.objects, self.repository.root, self.state, path, self.cache, limit)

    def without_packs_and_manifests(self) -> StoreTree:
        """Open a gateway's tree over a store that gives nothing but the catalogue."""
        objects = Gone(self.repository.objects, method="get", only="packs/")
        objects.calls_left = 0
        return open_tree(objects, self.repository.root, cache_memory=1 << 20, cache_dir=self.cache, cache_disk=1 << 30)


class Gone(Failing):
    """Manifests cannot be opened either."""

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        raise StoreUnavailable(self.address, f"the test says so: {key}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def read(tree: StoreTree, path: bytes) -> bytes:
    node = tree.root()
    for name in (b"ds", b"latest", *path.split(b"/")):
        node = tree.lookup(node, name)
    return whole(tree, node)


def whole(tree: StoreTree, node: Node) -> bytes:
    assert node.kind is Kind.FILE
    data = b""
    while len(data) < node.size:
        data += b"".join(tree.read(node, len(data), 1 << 20))
    return data


@pytest.fixture
def offline(bench: Bench) -> Iterator[StoreTree]:
    done = bench.warm()
    assert done.fits
    with closing(bench.without_packs_and_manifests()) as tree:
        yield tree


def test_a_gateway_serves_a_warm_state_without_the_store(offline: StoreTree) -> None:
    for path, data in FILES.items():
        assert read(offline, path) == data


def test_a_cold_state_cannot_be_served_without_the_store(bench: Bench) -> None:
    with closing(bench.without_packs_and_manifests()) as tree, pytest.raises(StoreUnavailable):
        read(tree, b"a")


def test_only_what_lies_below_the_path_is_fetched(bench: Bench) -> None:
    part = bench.warm(b"sub/deep")
    assert part.fits
    assert part.plain == 400_000
    with closing(bench.without_packs_and_manifests()) as tree:
        assert read(tree, b"sub/deep/c") == FILES[b"sub/deep/c"]
        with pytest.raises(StoreUnavailable):
            read(tree, b"a")


def test_a_second_warming_fetches_nothing(bench: Bench) -> None:
    first = bench.warm()
    assert first.fetched > 3_700_000
    again = bench.warm()
    assert (again.fetched, again.fits, again.chunks) == (0, True, first.chunks)


@pytest.mark.parametrize(("path", "error"), [(b"none", PathMissing), (b"a/b", NotAFolder)])
def test_a_path_that_is_not_there_is_an_error(bench: Bench, path: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        bench.warm(path)


def test_one_file_can_be_warmed_and_an_empty_one_needs_nothing(bench: Bench) -> None:
    assert bench.warm(b"sub/b").plain == 700_000
    assert (bench.warm(b"sub/none").pieces, bench.warm(b"sub/none").fits) == (0, True)


def test_what_does_not_fit_is_told_and_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large").write_bytes(noise(9, SMALLEST))
    repository = new_repository()
    push(repository, tmp_path / "folder", "ds", ["latest"], tmp_path / "state")
    done = warm(repository.objects, repository.root, latest(repository), b"", tmp_path / "cache", SMALLEST)
    assert not done.fits
    assert 0 < done.kept < done.pieces
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()) <= SMALLEST


def test_the_store_stays_open_for_the_caller(bench: Bench) -> None:
    bench.warm()
    assert Repository.open(bench.repository.objects).root.store == bench.repository.root.store


def test_the_pieces_with_the_headers_of_sealed_packs_count_too(tmp_path: Path) -> None:
    def encrypt(fresh: StoreRoot) -> StoreRoot:
        envelope, keys = make_envelope(GivenKey(Secret(b"k" * 32), "the test"), fresh.store, 1)
        return replace(fresh, envelope=envelope, keys=keys, features={"read": (ENCRYPTION,)})

    objects = MemoryStore()
    root = create_store(objects, encrypt=encrypt).root
    repository = Repository(in_plain(objects, root), root)
    (tmp_path / "folder").mkdir()
    lay_out({b"a": noise(1, 3_000_000), b"b": noise(2, 100_000)}, tmp_path / "folder")
    push(repository, tmp_path / "folder", "ds", ["latest"], tmp_path / "state")
    done = warm(objects, root, latest(repository), b"b", tmp_path / "cache", 1 << 30)
    [key] = [info.key for info in objects.list("packs/")]
    assert done.fits
    with closing(PieceCache(tmp_path / "cache" / root.store, 1 << 30)) as cache:
        there = [number for number in range(4) if cache.holds(f"{key}:{number}")]
    assert there[0] == 0
    assert len(there) == done.pieces
