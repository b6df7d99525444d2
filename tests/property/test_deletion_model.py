"""Pushes beside a deletion: in every order of their requests, what tags name stays readable to its last byte.

The orders are explored to the end (`tests.support.interleave`); each rule that pushes and deletions follow is shown to
be needed by leaving it out: then an order is found that loses something.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from store import commit, gc_state
from store.care.verify import verify
from store.catalogue.head import Content, Head, TagState
from store.catalogue.history import Archive
from store.errors import ObjectMissing, StoreUnavailable
from store.gc_state import DELETING, MARKED, Batch, Doomed, GcState, decode_gc_state, encode_gc_state
from store.layout import DATASETS, GC_STATE_KEY, MANIFESTS, PACKS, manifest_key
from store.objects.base import Fetched, ObjectStore
from store.pack import PackBuilder
from store.push import reliance
from store.push.lease import Lease
from store.push.push import push
from store.push.reliance import Reliance
from store.repository import Repository
from tests.support.deletion import Deletion, Rules
from tests.support.deletion_world import HASTY, NEW, OLD, PART, RULES, Body, Patient, World
from tests.support.interleave import Explored, Program, Violation

TICKS = 4  # grace, a push that sleeps until it looks dead, and a request that is late


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


Bodies = Callable[[World], list[Body]]
BESIDE: Mapping[str, Bodies] = {
    "a push of the very state": lambda world: [world.pushes(OLD, "latest")],
    "a push of the very state from where it was pushed": lambda world: [world.pushes(OLD, "latest", again=True)],
    "a push of some of it": lambda world: [world.pushes(PART, "latest")],
    "a push of some of it to another dataset": lambda world: [world.pushes(PART, "latest", dataset="other")],
    "a tag alone": lambda world: [world.tags_old],
    "a rollback": lambda world: [world.rolls_back],
    "a tag and an untag": lambda world: [world.tags_old, world.untags],
    "a push of what loses its tag": lambda world: [world.pushes(NEW, "1.0.0"), world.untags],
}


def explore(
    world: World, beside: list[Body], rules: Rules = RULES, *, kills: int = 0, deaths: int = 0,
    kind: type[Deletion] = Deletion, store: Patient | None = None,
) -> Explored:  # fmt: skip
    """Explore programs, each of which is killed up to `kills` times, and a deletion, which is killed `deaths` times."""
    programs = [Program(f"program {number}", body, kills=kills) for number, body in enumerate(beside, 1)]
    deletion = Program("deletion", world.deletes(rules, kind=kind), kills=deaths, told_time=True)
    return world.interleaving(*programs, deletion, ticks=TICKS, rules=rules, store=store).explore()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "beside",
    # Three programs reach ten times as many states as two.
    [
        pytest.param(beside, marks=pytest.mark.exhaustive) if "untag" in beside or "loses" in beside else beside
        for beside in BESIDE
    ],
)
def test_nothing_is_lost_in_any_order_beside_a_deletion(world: World, beside: str) -> None:
    explored = explore(world, BESIDE[beside](world))
    assert explored.orders > 1, "they do meet"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("beside", ["a tag alone", "a push of the very state"])
def test_grace_and_patience_only_save_work(world: World, beside: str) -> None:
    """All pushes look dead at once, and nothing has any grace."""
    explore(world, BESIDE[beside](world), HASTY)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_commit_that_is_killed_anywhere_loses_nothing(world: World) -> None:
    """Its last write may arrive at any later time."""
    explore(world, [world.tags_old], kills=1)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("state", [OLD, PART])
def test_a_push_that_is_killed_anywhere_and_goes_on_loses_nothing(world: World, state: str) -> None:
    explore(world, [world.pushes(state, "latest", resumes=True)], HASTY, kills=1)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("beside", ["a tag alone"])
def test_a_deletion_that_is_killed_anywhere_and_begun_again_loses_nothing(world: World, beside: str) -> None:
    explore(world, BESIDE[beside](world), deaths=1)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_two_commits_and_a_deletion_lose_nothing(world: World) -> None:
    explore(world, [world.tags_old, world.rolls_back], HASTY)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("state", [OLD, PART])
def test_two_pushes_and_a_deletion_lose_nothing(world: World, state: str) -> None:
    explore(world, [world.pushes(OLD, "latest"), world.pushes(state, "1.0.0")], HASTY)


def test_what_history_names_is_kept_where_that_is_the_rule(world: World) -> None:
    rules = replace(HASTY, history=True)
    explore(world, [world.rolls_back], rules)
    store = world.store()
    Deletion(store, rules).run()
    assert store.objects.keys() == world.objects.keys()


def test_tags_that_a_head_has_no_room_for_are_roots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(Deletion):
        def roots(self, head: Head) -> list[Content]:
            return [record.content for record in head.tags.values() if isinstance(record, TagState)]

    store = world.store()
    monkeypatch.setattr(Archive.__init__, "__kwdefaults__", {"spill_from": 1, "keep": 1, "cache_size": 1 << 20})
    world.tags_old(store)
    for channel in ("one", "two"):
        push(Repository.open(store), world.folder / NEW, "ds", [channel], world.folder / "spilled")
    head = Repository.open(store).catalogue.head("ds")
    assert "1.0.0" not in head.tags, "it was spilled"
    blindly = world.store(store.objects)
    Deletion(store, RULES).run()
    world.readable(store.objects, RULES)
    Blind(blindly, RULES).run()
    with pytest.raises((AssertionError, ObjectMissing)):
        world.readable(blindly.objects, RULES)


# Each rule left out


class Stale(Deletion):
    """Reads the roots once."""

    def needed(self) -> frozenset[str]:
        self.found = getattr(self, "found", None) or super().needed()
        return self.found


class Unsparing(Deletion):
    """Does not read the roots again after it waited."""

    def spare(self, batch: Batch) -> None:
        pass


class Impatient(Deletion):
    """Does not look at running pushes before it deletes."""

    def wait(self) -> None:
        if self.state().batches[0].phase != DELETING:
            super().wait()


class Forgetful(Deletion):
    """Does not look at running pushes before it forgets."""

    def wait(self) -> None:
        if self.state().batches[0].phase == DELETING:
            super().wait()


class Unfenced(Deletion):
    """Tells a dead push that it has ended, and trusts that it listens."""

    def rewrite(self, dataset: str) -> None:
        pass


@pytest.mark.parametrize("kind", [Stale, Unsparing, Impatient, Forgetful, Unfenced])
def test_a_deletion_has_to_keep_each_of_its_rules(world: World, kind: type[Deletion]) -> None:
    with pytest.raises(Violation, match=r"needs packs/|needs manifests/|ObjectMissing"):
        explore(world, [world.tags_old], HASTY, kind=kind)


@pytest.mark.slow
def test_a_deletion_has_to_wait_for_its_own_late_requests(world: World) -> None:
    with pytest.raises(Violation, match="arrives"):
        explore(world, [world.pushes(OLD, "latest")], replace(HASTY, late_ns=0), deaths=1)


def test_a_push_has_to_read_what_is_being_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliance, "keep", lambda *args: Doomed())
    with pytest.raises(Violation, match=r"needs|ObjectMissing"):
        explore(world, [world.tags_old])


def test_a_push_has_to_look_whether_what_it_relies_on_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reliance, "_absent", lambda *args: frozenset())
    with pytest.raises(Violation, match=r"needs|ObjectMissing"):
        explore(world, [world.tags_old])


def test_a_push_has_to_have_a_heartbeat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is there counts. That it beats saves work: in no order explored here does any heart beat twice."""
    monkeypatch.setattr(Lease, "begin", lambda lease: None)
    monkeypatch.setattr(Lease, "confirm", lambda lease: None)
    with pytest.raises(Violation, match=r"needs|ObjectMissing"):
        explore(world, [world.tags_old])


def test_a_push_has_to_notice_that_it_was_shut_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "confirm", lambda lease: None)
    with pytest.raises(Violation, match=r"needs|ObjectMissing"):
        explore(world, [world.tags_old])


def test_packs_need_ids_that_were_never_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the id that the same blocks had before, the push meets its own pack among what is being deleted."""
    ids = {len(held.data): key for key, held in world.objects.items() if key.startswith(PACKS)}
    old = next(bytes.fromhex(key.rpartition("/")[2]) for size, key in sorted(ids.items()))
    real = PackBuilder.__init__

    def reuse(builder: PackBuilder) -> None:
        real(builder)
        builder.id = type(builder.id)(old)

    monkeypatch.setattr(PackBuilder, "__init__", reuse)
    with pytest.raises(Violation, match=r"needs|ObjectMissing|Contended"):
        explore(world, [world.pushes(OLD, "latest")])


def test_a_manifest_needs_a_key_that_was_never_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.push.push.manifest_key", lambda id, root="": manifest_key(id))
    with pytest.raises(Violation, match=r"needs|ObjectMissing|Contended"):
        explore(world, [world.pushes(OLD, "latest")])


@pytest.mark.slow
def test_marks_are_only_taken_out_by_compare_and_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion goes on where NEW is marked, and OLD is being deleted though a tag has come to name it."""
    store = world.store()
    world.tags_old(store)
    Repository.open(store).catalogue.untag("ds", "latest")
    deletion = Deletion(store, HASTY)
    old = deletion.needed()
    new = deletion.names(PACKS) | deletion.names(MANIFESTS)
    batches = (
        Batch(1, DELETING, 0, old & deletion.names(PACKS), old & deletion.names(MANIFESTS)),
        Batch(2, MARKED, 0, (new - old) & deletion.names(PACKS), (new - old) & deletion.names(MANIFESTS)),
    )
    store.put(GC_STATE_KEY, encode_gc_state(GcState(next_batch=3, batches=batches), "prepared"))
    explore(world, [world.pushes(NEW, "2.0.0")], HASTY, store=store)

    def overwrite(objects: ObjectStore, key: str, decide: commit.Decide, **options: Any) -> None:
        new = decide(objects.get(key), "mine")
        if new is not None:
            objects.put(key, new)

    monkeypatch.setattr(gc_state, "compare_and_set", overwrite)
    with pytest.raises(Violation, match=r"needs|ObjectMissing"):
        explore(world, [world.pushes(NEW, "2.0.0")], HASTY, store=store)


# What comes of it, without anything beside


class Unreadable(Patient):
    """Fails every fetch of a head."""

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        if key.startswith(DATASETS):
            raise StoreUnavailable(self.address, "told to fail")
        return super().fetch(key, unless=unless)


def marked(world: World) -> tuple[Patient, Deletion]:
    store = world.store()
    deletion = Deletion(store, RULES)
    deletion.mark()
    return store, deletion


def test_a_deletion_that_cannot_read_a_root_deletes_nothing(world: World) -> None:
    store, _ = marked(world)
    before = dict(store.objects)
    with pytest.raises(StoreUnavailable):
        Deletion(Unreadable(store.objects, 0), RULES).run()
    assert store.objects == before


def test_what_nobody_needs_is_deleted(world: World) -> None:
    store = world.store()
    Deletion(store, RULES).run()
    gone = world.objects.keys() - store.objects.keys()
    assert sorted(key.partition("/")[0] for key in gone) == ["manifests", "packs"]
    with pytest.raises(ObjectMissing):
        Repository.open(store).manifest(bytes.fromhex(world.states[OLD]), bytes(32))


def test_a_state_whose_removal_has_begun_is_pushed_again_beside_it(world: World) -> None:
    store, deletion = marked(world)
    deletion.condemn(deletion.state().batches[0])
    before = {info.key for info in store.list(PACKS)}
    pushed = push(Repository.open(store), world.folder / OLD, "ds", ["1.0.0"], world.folder / "again")
    assert pushed.manifest == world.states[OLD]
    assert len({info.key for info in store.list(PACKS)} - before) == 1
    deletion.run()
    again = push(Repository.open(store), world.folder / OLD, "ds", ["2.0.0"], world.folder / "once more")
    assert (again.bytes_new, again.puts) == (0, 2), "head and hint: it is found at its second key"
    world.readable(store.objects, RULES)
    # "latest" named the state in the past; nobody needs that any more, and its first manifest is gone.
    found = verify(store, state=Repository.open(store).catalogue.resolve("ds:2.0.0"), deep=True)
    assert list(found.findings.all()) == []


def test_what_is_marked_is_used_and_is_marked_no_more(world: World) -> None:
    store, deletion = marked(world)
    assert deletion.state().batches
    pushed = push(Repository.open(store), world.folder / OLD, "ds", ["1.0.0"], world.folder / "marked")
    assert pushed.bytes_new == 0
    assert decode_gc_state(store.get(GC_STATE_KEY)).batches == ()
