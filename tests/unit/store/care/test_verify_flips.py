"""A deep check finds one flipped bit in every kind of object, wherever in it: a sample of fixed places.

What a flip may go unfound for is that no reader can be told anything else because of it.
"""

import random

import pytest

from store.care.verify import verify
from store.errors import FeatureMissing
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.memory import MemoryStore
from store.push.push import push
from store.repository import Repository
from store.root import create_store
from tests.support.trees import lay_out

FLIPS = 60  # of each kind of object
KINDS = {
    "root": ROOT_KEY, "head": DATASETS, "history": "history/", "manifest": MANIFESTS, "pack": PACKS, "index": "index/"
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the objects of a store with a long history, by key."""
    work = tmp_path_factory.mktemp("flips")
    store = MemoryStore()
    create_store(store)
    repository = Repository.open(store)
    for number in range(3):
        folder = work / str(number)
        folder.mkdir()
        lay_out({b"text": b"text %d " % number * 3000, b"sub": {b"same": random.Random(1).randbytes(9000)}}, folder)
        push(repository, folder, "ds", [f"{number}.0.0", "latest"], work / "state")
    states = [repository.catalogue.resolve(f"ds:{number}.0.0").content for number in range(3)]
    turn = 0
    while not any(store.list("history/")) and turn < 3000:
        repository.catalogue.set_tags("ds", [f"channel-{turn % 7}"], states[turn % 3], message=f"{turn} " * 400)
        turn += 1
    return {info.key: store.get(info.key) for info in store.list("")}


def told(store: MemoryStore) -> str:
    """Return all that readers are told of the dataset's names and history."""
    known = Repository.open(store).catalogue
    return repr((known.tags("ds"), [*known.log("ds")]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_flip_is_found_or_tells_readers_nothing_else(kind: str, stored: dict[str, bytes]) -> None:
    chance = random.Random(f"flips in {kind}")
    keys = sorted(key for key in stored if key.startswith(KINDS[kind]))
    assert keys
    sound = told(store_of(stored))
    for _ in range(FLIPS):
        key = chance.choice(keys)
        at, bit = chance.randrange(len(stored[key])), 1 << chance.randrange(8)
        data = bytearray(stored[key])
        data[at] ^= bit
        store = store_of({**stored, key: bytes(data)})
        try:
            done = verify(store, deep=True)
        except FeatureMissing:
            assert key == ROOT_KEY  # of a later format: nothing in it may be believed
            continue
        if not done.findings:
            assert kind in ("root", "head"), (key, at, bit)
            assert told(store) == sound, (key, at, bit)
        else:
            assert [finding.key for finding in done.findings.all()] == [key], (key, at, bit)


def store_of(objects: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for key, data in objects.items():
        store.put(key, data)
    return store
