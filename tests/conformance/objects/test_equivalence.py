"""Whatever is done to a folder store has the outcome that it has in memory, step by step."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from store.errors import StoreError
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore

KEYS = st.sampled_from(["a", "b/1", "b/2", "b/c/x", "b0", "~"])
DATA = st.binary(max_size=6)
RANGES = st.integers(0, 8)


class FolderIsLikeMemory(RuleBasedStateMachine):
    """Runs each step on both; ETags are known by when they were given out."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stores: tuple[ObjectStore, ...] = (MemoryStore(), FolderStore(self.folder))
        self.etags: list[tuple[str, ...]] = []
        self.number = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def unique(self, data: bytes) -> bytes:
        """Give no two writes the same bytes, as the store's own heads do with their counter."""
        self.number += 1
        return data + self.number.to_bytes(4, "big")

    def written(self, outcomes: list[str | type[StoreError]]) -> None:
        told = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if told:
            assert len(told) == len(outcomes)
            self.etags.append(tuple(told))
        else:
            assert len(set(outcomes)) == 1

    @rule(key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> None:
        data = self.unique(data)
        self.written([store.put(key, data) for store in self.stores])

    @rule(key=KEYS, data=DATA, which=st.integers(0, 10))
    def put_if(self, key: str, data: bytes, which: int) -> None:
        data = self.unique(data)
        named = self.etags[-1 - which] if which < len(self.etags) else (None, None)
        self.written([put_if(store, key, data, match) for store, match in zip(self.stores, named, strict=True)])

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        for store in self.stores:
            store.delete(key)

    @rule(key=KEYS, offset=RANGES, size=st.none() | RANGES)
    def get(self, key: str, offset: int, size: int | None) -> None:
        outcomes = [get(store, key, offset, size) for store in self.stores]
        assert outcomes[0] == outcomes[1]

    @rule(prefix=st.sampled_from(["", "b", "b/", "b/c", "~"]), after=st.just("") | KEYS)
    def list(self, prefix: str, after: str) -> None:
        listed = [sorted((i.key, i.size) for i in store.list(prefix, after=after)) for store in self.stores]
        assert listed[0] == listed[1]

    @invariant()
    def nothing_is_left_half_written(self) -> None:
        temporary = self.folder / ".tmp"
        assert not temporary.exists() or not any(temporary.iterdir())


def put_if(store: ObjectStore, key: str, data: bytes, match: str | None) -> str | type[StoreError]:
    try:
        return store.put_if(key, data, match=match)
    except StoreError as error:
        return type(error)


def get(store: ObjectStore, key: str, offset: int, size: int | None) -> bytes | type[StoreError]:
    try:
        return store.get(key, offset=offset, size=size)
    except StoreError as error:
        return type(error)


def test_a_folder_does_what_memory_does_step_by_step() -> None:
    run_state_machine_as_test(FolderIsLikeMemory, settings=settings(stateful_step_count=30))
