"""A push that goes on after it was killed looks at each pack that its journal names before it relies on it.

And naming a state that is in the store already tells one that is being removed from one that is damaged.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import ObjectMissing, StaleNode, StoreUnavailable
from store.gc_state import DELETING, Batch, GcState, encode_gc_state
from store.layout import GC_STATE_KEY, MANIFESTS, PACKS, PUSHES, pack_key
from store.objects.base import Buffer
from store.push.push import Pushed, push
from store.push.reliance import Reliance, packs_of
from store.repository import Repository
from tests.support.deletion import Deletion
from tests.support.deletion_world import HASTY, OLD, PART, RULES, Patient, World

Told = Callable[[str], None]


class Meddled(Patient):
    """Tells of each write before it is done."""

    told: Told

    def put(self, key: str, data: Buffer) -> str:
        self.told(key)
        return super().put(key, data)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        self.told(key)
        return super().put_if(key, data, match=match)


class Halfway:
    """A push of PART to a dataset of its own that was killed after its pack was written."""

    def __init__(self, folder: Path) -> None:
        (folder / "world").mkdir()
        self.world = World(folder / "world")
        self.state = folder / "state"
        self.store = Meddled(dict(self.world.objects), 0)
        self.told(self._fail)
        with pytest.raises(StoreUnavailable):
            self.push()
        self.pack = next(key for key in self.store.objects if key.startswith(PACKS) and key not in self.world.objects)
        self.told(lambda key: None)

    def told(self, told: Told) -> None:
        self.store.told = told

    def push(self) -> Pushed:
        return push(Repository.open(self.store), self.world.folder / PART, "other", ["latest"], self.state)

    @staticmethod
    def _fail(key: str) -> None:
        if key.startswith(MANIFESTS):
            raise StoreUnavailable("memory:", "told to fail")

    def vanishes_once_its_footer_was_read(self) -> None:
        def vanish(key: str) -> None:
            if key.startswith(PUSHES):
                self.store.objects.pop(self.pack, None)

        self.told(vanish)


@pytest.fixture
def halfway(tmp_path: Path) -> Halfway:
    return Halfway(tmp_path)


def test_a_pack_that_is_whole_is_used(halfway: Halfway) -> None:
    assert halfway.push().bytes_new == 0
    halfway.world.readable(halfway.store.objects, RULES)
    assert halfway.pack in halfway.store.objects


def test_a_pack_that_was_cut_short_is_not_used(halfway: Halfway) -> None:
    halfway.store.put(halfway.pack, halfway.store.get(halfway.pack)[:-1])
    assert halfway.push().bytes_new > 0


def test_a_pack_that_is_marked_is_used_and_marked_no_more(halfway: Halfway) -> None:
    deletion = Deletion(halfway.store, RULES)
    deletion.mark()
    assert halfway.push().bytes_new == 0
    deletion.run()
    halfway.world.readable(halfway.store.objects, RULES)


def test_what_a_pack_that_is_being_deleted_holds_is_written_anew(halfway: Halfway) -> None:
    deletion = Deletion(halfway.store, HASTY)
    deletion.mark()
    deletion.condemn(deletion.state().batches[0])
    assert halfway.push().bytes_new > 0
    deletion.run()
    assert halfway.pack not in halfway.store.objects
    halfway.world.readable(halfway.store.objects, RULES)


def test_a_pack_that_vanishes_before_the_heartbeat_is_written_anew(halfway: Halfway) -> None:
    halfway.vanishes_once_its_footer_was_read()
    assert halfway.push().bytes_new > 0
    halfway.world.readable(halfway.store.objects, RULES)


def test_believing_the_journal_loses_what_vanished(halfway: Halfway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reliance, "_is_there", lambda self, key: True)
    halfway.vanishes_once_its_footer_was_read()
    halfway.push()
    with pytest.raises(AssertionError, match="needs packs/"):
        halfway.world.readable(halfway.store.objects, RULES)


def test_naming_a_state_whose_pack_is_lost_tells_the_pack(tmp_path: Path) -> None:
    world = World(tmp_path)
    store = world.store()
    pack = old_pack(world, store)
    store.delete(pack)
    with pytest.raises(ObjectMissing) as caught:
        world.tags_old(store)
    assert caught.value.key == pack


@pytest.mark.parametrize("removed", [False, True])
def test_naming_a_state_that_is_being_deleted_finds_it_gone(tmp_path: Path, removed: bool) -> None:
    world = World(tmp_path)
    store = world.store()
    pack = old_pack(world, store)
    batch = Batch(1, DELETING, 0, packs=frozenset({pack.rpartition("/")[2]}))
    store.put(GC_STATE_KEY, encode_gc_state(GcState(batches=(batch,)), "operation"))
    if removed:
        store.delete(pack)
    with pytest.raises(StaleNode, match="is being removed"):
        world.tags_old(store)


def old_pack(world: World, store: Patient) -> str:
    """Return the key of the one pack that OLD needs."""
    repository = Repository.open(store)
    content = repository.catalogue.resolve(f"ds@b3-{world.states[OLD]}").content
    [pack] = packs_of(repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root)))
    return pack_key(pack.hex())
