"""How little a tree asks of its store: requests of a cold walk and read, bytes of a version read after another."""

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from store.kinds import Kind
from store.objects.base import Fetched, ObjectInfo, ObjectStore
from store.objects.cached import CachedObjects
from store.objects.pieces import PieceCache
from store.objects.wrapper import Wrapper
from store.push.push import push
from store.repository import Repository
from store.root import in_plain_through
from store.secret import Secret
from store.vfs.opening import open_tree
from store.vfs.storetree import StoreTree
from store.vfs.tree import Node
from tests.support.folders import new_repository
from tests.support.trees import resolve
from tests.unit.store.care.test_verify import noise

MIB = 1 << 20


class Watched(Wrapper):
    """Notes what is read: (key, bytes)."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.asked: list[tuple[str, int]] = []

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        data = super().get(key, offset=offset, size=size)
        self.asked.append((key, len(data)))
        return data

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        data, whole = super().tail(key, size)
        self.asked.append((key, len(data)))
        return data, whole

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self.asked.append((key, 0))
        return super().fetch(key, unless=unless)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.asked.append((prefix, 0))
        return super().list(prefix, after=after)

    def packs(self) -> int:
        """Return the bytes of packs that were read, and begin anew."""
        read = sum(size for key, size in self.asked if key.startswith("packs/"))
        self.asked.clear()
        return read


class World:
    """A store that is pushed to, and opened anew with or without a cache on disk."""

    def __init__(self, work: Path) -> None:
        self.repository, self.work = new_repository(), work
        self.watched = Watched(self.repository.objects)
        self._folders = itertools.count()

    def push(self, version: str, files: dict[str, bytes]) -> int:
        """Push files; return the stored bytes of new blocks."""
        folder = self.work / f"folder-{next(self._folders)}"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return push(self.repository, folder, "ds", [version], self.work / "state").bytes_stored

    @contextmanager
    def tree(self, *, memory: int, disk: bool) -> Iterator[StoreTree]:
        """Open a tree; its disk cache keeps all it is given, however fast that comes."""
        root, objects = self.repository.root, self.watched
        if not disk:
            opened = open_tree(objects, root, cache_memory=memory, cache_dir=None, cache_disk=0)
        else:
            pieces = PieceCache(self.work / "cache", 1 << 30, patient=True, key=Secret(bytes(32)))
            plain = in_plain_through(CachedObjects(objects, pieces), root)
            opened = StoreTree(Repository(plain.objects, root), memory=memory, cache=plain)
        with closing(opened):
            yield opened
            if disk:
                pieces.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def below(tree: StoreTree, folder: Node) -> int:
    """Look at everything below a folder, page by page, as `find` does over NFS; return how many files there are."""
    files, after = 0, 0
    while True:
        listing = tree.children(folder, after=after, limit=512)
        for entry in listing.entries:
            files += below(tree, entry.node) if entry.node.kind == Kind.FOLDER else 1
            after = entry.cookie
        if listing.eof:
            return files


def whole(tree: StoreTree, path: str) -> bytes:
    """Read a file as a client does, 1 MiB at a time."""
    node, data = resolve(tree, path), b""
    while len(data) < node.size:
        data += b"".join(tree.read(node, len(data), MIB))
    return data


@pytest.mark.parametrize("disk", [True, False], ids=["disk cache", "none"])
def test_a_cold_walk_takes_three_requests_and_a_cold_read_at_most_two_more(world: World, disk: bool) -> None:
    many = {f"{number // 1000}/{number // 100}/{number:06d}-{number * 7919 % 10007}": b"" for number in range(6000)}
    some = {f"{number // 100}/{number:06d}": noise(number, 40) for number in range(0, 6000, 2)}
    world.push("1.0.0", {**{f"a/{name}": data for name, data in many.items()}, **some})
    with world.tree(memory=64 * MIB, disk=disk) as tree:
        assert below(tree, resolve(tree, "ds/1.0.0")) == 9000
        kinds = [key.partition("/")[0] for key, _ in world.watched.asked]
        assert sorted(kinds) == ["datasets", "manifests", "manifests"]  # and, if `/` itself is looked at, its changes
        world.watched.asked.clear()
        assert whole(tree, "ds/1.0.0/37/003750") == noise(3750, 40)
        assert [key.partition("/")[0] for key, _ in world.watched.asked] in (["manifests", "packs"], ["packs"])


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "disk"), [(256 * MIB, False), (256 * MIB, True), (2 * MIB, True)])
def test_a_version_read_after_another_fetches_little_more_than_its_new_blocks(
    world: World, memory: int, disk: bool
) -> None:
    first = noise(1, 48 * MIB)
    second = bytearray(first)
    for number in range(24):
        at = (number * 7 + 3) * 271_829 % len(second)
        second[at : at + 20] = noise(100 + number, 20)
    second[9 * MIB : 9 * MIB] = noise(2, 3 * MIB)
    world.push("1.0.0", {"large": first})
    new = world.push("2.0.0", {"large": bytes(second)})
    assert 4 * MIB < new < 12 * MIB
    with world.tree(memory=memory, disk=disk) as tree:
        assert whole(tree, "ds/1.0.0/large") == first
        assert 48 * MIB <= world.watched.packs() <= 48.3 * MIB  # nothing twice
    with world.tree(memory=memory, disk=disk) as tree:
        if not disk:  # what is in memory ends with the process
            assert whole(tree, "ds/1.0.0/large") == first
            world.watched.asked.clear()
        assert whole(tree, "ds/2.0.0/large") == second
        assert 0.9 * new <= world.watched.packs() <= 1.2 * new


def test_small_files_that_are_read_one_after_another_come_many_by_one_request(world: World) -> None:
    files = {f"{number:04d}": noise(number, 900) for number in range(640)}
    world.push("1.0.0", files)
    with world.tree(memory=64 * MIB, disk=False) as tree:
        folder = resolve(tree, "ds/1.0.0")
        entries = [entry for after in (0, 512) for entry in tree.children(folder, after=after, limit=512).entries]
        world.watched.asked.clear()
        for entry in entries[100:101] + entries[500:501] + entries[300:301]:
            assert b"".join(tree.read(entry.node, 0, MIB)) == files[entry.name.decode()]
        assert world.watched.packs() < 3 * 1000  # whoever takes one here and one there is given no more
        for entry in entries:
            assert b"".join(tree.read(entry.node, 0, MIB)) == files[entry.name.decode()]
        requests = len(world.watched.asked)
        assert requests < 2 * 640 // 64
        assert world.watched.packs() < 640 * 1000 + 64 * 1024 * 3
