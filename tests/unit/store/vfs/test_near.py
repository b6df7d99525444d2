"""What a disk cache holds is answered where nobody may wait, a little at a time, and fills memory that has room."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from store.objects.base import ObjectStore
from store.objects.cached import CachedObjects
from store.objects.memory import MemoryStore
from store.objects.pieces import PieceCache
from store.push.push import push
from store.repository import Repository
from store.root import ENCRYPTION, StoreRoot, create_store, in_plain, in_plain_through
from store.sealing.key_source import GivenKey, make_envelope
from store.secret import Secret
from store.vfs.storetree import NEAR, StoreTree
from store.vfs.tree import Node
from tests.support.trees import resolve
from tests.unit.store.vfs.test_frugal import Watched

MIB = 1 << 20
DATA = random.Random(7).randbytes(24 * MIB)


def encrypt(fresh: StoreRoot) -> StoreRoot:
    envelope, keys = make_envelope(GivenKey(Secret(b"k" * 32), "the test"), fresh.store, 1)
    return replace(fresh, envelope=envelope, keys=keys, features={"read": (ENCRYPTION,)})


class Gateway:
    """A store with one file, read through a disk cache that outlives each opening."""

    def __init__(self, work: Path, *, encrypted: bool) -> None:
        objects: ObjectStore = MemoryStore()
        self.root = create_store(objects, encrypt=encrypt if encrypted else None).root
        self.watched, self.cache = Watched(objects), work / "cache"
        folder = work / "folder"
        folder.mkdir()
        (folder / "file").write_bytes(DATA)
        push(Repository(in_plain(objects, self.root), self.root), folder, "ds", ["1.0.0"], work / "state")

    @contextmanager
    def tree(self, memory: int) -> Iterator[StoreTree]:
        key = None if self.root.keys else Secret(bytes(32))
        with closing(PieceCache(self.cache, 1 << 30, patient=True, key=key)) as pieces:
            plain = in_plain_through(CachedObjects(self.watched, pieces), self.root)
            with closing(StoreTree(Repository(plain.objects, self.root), memory=memory, cache=plain)) as tree:
                yield tree

    def fill(self) -> None:
        """Bring the whole file to disk."""
        with self.tree(64 * MIB) as tree:
            node = resolve(tree, "ds/1.0.0/file")
            for at in range(0, len(DATA), MIB):
                assert read(tree, node, at, MIB) == DATA[at : at + MIB]


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Gateway:
    return Gateway(tmp_path, encrypted=request.param)


def read(tree: StoreTree, node: Node, offset: int, size: int) -> bytes:
    return b"".join(tree.read(node, offset, size))


def warm(tree: StoreTree, node: Node, offset: int, size: int) -> bytes | None:
    found = tree.read_warm(node, offset, size)
    return None if found is None else b"".join(found)


def test_a_piece_that_was_read_once_is_answered_without_waiting(gateway: Gateway) -> None:
    gateway.fill()
    with gateway.tree(memory=MIB) as tree:  # too little to keep what was read
        node = resolve(tree, "ds/1.0.0/file")
        assert warm(tree, node, 5, 4096) is None  # where the piece is is not known yet
        for at in range(0, len(DATA), MIB // 2):
            read(tree, node, at, 10)
        gateway.watched.asked.clear()
        for at in (5, 3 * MIB - 100, 11 * MIB + 12345, len(DATA) - 4096):
            assert warm(tree, node, at, 4096) == DATA[at : at + 4096]
        assert warm(tree, node, 2 * MIB, 2 * NEAR) is None  # more work than may hold up others
        assert not gateway.watched.asked


def test_what_is_damaged_on_disk_is_left_to_who_may_wait(gateway: Gateway) -> None:
    gateway.fill()
    with gateway.tree(memory=MIB) as tree:
        node = resolve(tree, "ds/1.0.0/file")
        for at in range(0, len(DATA), MIB // 2):
            read(tree, node, at, 10)
        for file in gateway.cache.rglob("*.val"):
            file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
        assert warm(tree, node, 5 * MIB, 4096) is None
        gateway.watched.asked.clear()
        assert read(tree, node, 5 * MIB, 4096) == DATA[5 * MIB : 5 * MIB + 4096]
        assert gateway.watched.asked
        assert warm(tree, node, 5 * MIB, 4096) == DATA[5 * MIB : 5 * MIB + 4096]


def test_a_read_brings_what_lies_in_its_piece_while_memory_has_room(gateway: Gateway) -> None:
    gateway.fill()
    with gateway.tree(memory=64 * MIB) as tree:
        node = resolve(tree, "ds/1.0.0/file")
        for at in range(MIB // 2, len(DATA), MIB):
            read(tree, node, at, 10)
        tree._cache = None  # what follows must come from memory alone
        tree._blocks._at_hand = None
        held = [at for at in range(0, len(DATA), 64 << 10) if warm(tree, node, at, 4096) == DATA[at : at + 4096]]
        assert len(held) > 0.7 * len(DATA) / (64 << 10)


def test_neighbours_cost_no_request(gateway: Gateway) -> None:
    with gateway.tree(memory=64 * MIB) as tree:
        node = resolve(tree, "ds/1.0.0/file")
        tree.digests(node)
        read(tree, node, 0, 10)  # with what opens a sealed pack
        gateway.watched.asked.clear()
        read(tree, node, 8 * MIB + 300_000, 10)
        packs = [size for key, size in gateway.watched.asked if size > 2048]
        assert len(packs) == 1
        assert sum(packs) <= 2 * MIB + 2048
