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
from tests.support.s3 import S3Place

KINDS = ["memory", "folder", "moto", pytest.param("seaweed", marks=pytest.mark.s3)]
WRAPPERS: dict[str, Callable[[ObjectStore], ObjectStore]] = {
    "bare": lambda inner: inner,
    "retrying": Retrying,
    "measuring": Measuring,
    "guarded": Guarded,
    "stacked": lambda inner: Guarded(Retrying(Measuring(inner))),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bare_store(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    store: ObjectStore
    if kind == "memory":
        store = MemoryStore()
    elif kind == "folder":
        store = FolderStore(tmp_path / "objects", create=True)
    else:
        place: S3Place = request.getfixturevalue(f"{kind}_place")
        store = open_objects(place.address)
    yield store
    store.close()


@pytest.fixture(params=WRAPPERS)
def store(request: pytest.FixtureRequest, bare_store: ObjectStore) -> ObjectStore:
    return WRAPPERS[request.param](bare_store)
