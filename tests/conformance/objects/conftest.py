"""The object stores that the suite runs against, each bare and behind each wrapper."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.objects.address import open_objects
from store.objects.base import ObjectStore
from store.objects.guard import Guarded
from store.objects.local import FolderStore
from store.objects.measure import Measuring
from store.objects.memory import MemoryStore
from store.objects.retry import Retrying
from store.objects.sealed import Sealed
from store.sealing.secret_keys import KeyRing
from store.secret import Secret
from tests.support.s3 import S3Place

KINDS = ["memory", "folder", "moto", pytest.param("seaweed", marks=pytest.mark.s3)]


def sealed(inner: ObjectStore) -> ObjectStore:
    """Put sealing before a store, as an encrypted one has it."""
    keys = KeyRing(data={b"k" * 16: Secret(b"d" * 32)}, id_secret=Secret(b"i" * 32), handle=Secret(b"h" * 32))
    return Sealed(inner, keys, "ab" * 16)


WRAPPERS: dict[str, Callable[[ObjectStore], ObjectStore]] = {
    "bare": lambda inner: inner,
    "retrying": Retrying,
    "measuring": Measuring,
    "guarded": Guarded,
    "stacked": lambda inner: Guarded(Retrying(Measuring(inner))),
    "sealed": lambda inner: sealed(inner),
    "sealed stack": lambda inner: sealed(Guarded(Retrying(Measuring(inner)))),
}
# Each wrapper alone on the quick stores; on servers all of them at once.
PAIRS = [
    *[pytest.param((kind, wrapper), id=f"{kind}-{wrapper}") for kind in ("memory", "folder") for wrapper in WRAPPERS],
    *[pytest.param(("moto", wrapper), id=f"moto-{wrapper}") for wrapper in ("bare", "stacked", "sealed stack")],
    *[
        pytest.param(("seaweed", wrapper), id=f"seaweed-{wrapper}", marks=pytest.mark.s3)
        for wrapper in ("bare", "stacked", "sealed stack")
    ],
]
# moto's server compares, writes and reads in several steps, which another request can come between.
ATOMIC_PAIRS = [pair for pair in PAIRS if not str(pair.id).startswith("moto")]


@pytest.fixture
def open_store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], ObjectStore]]:
    """Open a store of a kind, empty; it is closed in the end."""
    opened: list[ObjectStore] = []

    def open_one(kind: str) -> ObjectStore:
        store: ObjectStore
        if kind == "memory":
            store = MemoryStore()
        elif kind == "folder":
            store = FolderStore(tmp_path / "objects", create=True)
        else:
            place: S3Place = request.getfixturevalue(f"{kind}_place")
            store = open_objects(place.address)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture(params=PAIRS)
def store(
    request: pytest.FixtureRequest, open_store: Callable[[str], ObjectStore], clients: dict[str, ObjectStore]
) -> ObjectStore:
    kind, wrapper = request.param
    if kind in ("memory", "folder"):
        return WRAPPERS[wrapper](open_store(kind))
    # Making a client takes much longer than a test: each server's is used by all, on the emptied prefix.
    if kind not in clients:
        place: S3Place = request.getfixturevalue(f"{kind}_place")
        clients[kind] = open_objects(place.address)
    for info in clients[kind].list(""):
        clients[kind].delete(info.key)
    return WRAPPERS[wrapper](clients[kind])


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, ObjectStore]]:
    made: dict[str, ObjectStore] = {}
    yield made
    for store in made.values():
        store.close()
