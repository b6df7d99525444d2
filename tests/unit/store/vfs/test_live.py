"""Snapshots of the catalogue: fresh within a second, cheap to keep so, and growing in time with every change."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.catalogue.head import Content, Head, TagState, encode_head
from store.catalogue.listing import AT_ONCE, FEW, PREFIXES
from store.catalogue.refs import TagKind
from store.errors import AmbiguousNode, StaleNode, StoreUnavailable
from store.layout import dataset_key, name_prefix
from store.objects.base import Fetched, ObjectInfo
from store.objects.memory import MemoryStore
from store.vfs.live import ASK_AGAIN_S, BRIDGED_S, FRESH_S, LISTED_S, View
from store.vfs.names import cookie_of, digest64
from store.vfs.storetree import HEADS_READ
from tests.conformance.tree_cases import names, whole
from tests.support.staging import StoreStage
from tests.support.trees import resolve


class Listings(MemoryStore):
    """Counts listings by prefix and requests for heads; can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Counter[str] = Counter()
        self.fetched = 0
        self.away = False
        self.silent: threading.Event | None = None

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.listed[prefix] += 1
        self._answer()
        return super().list(prefix, after=after)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self.fetched += 1
        self._answer()
        return super().fetch(key, unless=unless)

    def _answer(self) -> None:
        if self.silent is not None:
            self.silent.wait(30)
        if self.away:
            raise StoreUnavailable("memory:", "it is away")


@pytest.fixture
def objects() -> Listings:
    return Listings()


@pytest.fixture
def stage(objects: Listings, tmp_path: Path) -> Iterator[StoreStage]:
    with StoreStage(objects, tmp_path) as stage:
        yield stage


def test_within_a_second_nothing_is_asked_again(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    whole(stage.tree, stage.tree.node(stage.tree.root().place))
    objects.listed.clear()
    for _ in range(5):
        whole(stage.tree, stage.tree.node(stage.tree.root().place))
        stage.clock.now_s += FRESH_S / 10
    assert objects.listed == {}


def test_to_see_that_nothing_changed_takes_one_listing_of_hints(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    objects.listed.clear()
    stage.clock.pass_freshness()
    stage.tree.node(stage.tree.root().place)
    assert objects.listed == {"changes/": 1}


def test_a_change_lists_only_the_prefix_that_it_hints_at(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    stage.publish("other", "1.0.0", {})
    whole(stage.tree, stage.tree.root())
    objects.listed.clear()
    stage.publish("third", "1.0.0", {})
    listed = [prefix for prefix in objects.listed if prefix.startswith("datasets/")]
    assert [len(prefix) for prefix in listed] == [len("datasets/hh/")]
    assert sorted(names(whole(stage.tree, stage.tree.root()))) == [b"maps", b"other", b"third"]


def test_to_open_a_store_nothing_is_listed_and_only_its_own_record_read(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    objects.listed.clear()
    objects.fetched = 0
    stage.reopen()
    stage.tree.root()
    assert (objects.listed, objects.fetched) == ({}, 1)


def test_looking_at_the_root_and_into_one_dataset_lists_no_datasets(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    stage.reopen()
    objects.listed.clear()
    root = stage.tree.node(stage.tree.root().place)
    assert resolve(stage.tree, "maps/1.0.0/f").size == 3
    assert stage.tree.parent(resolve(stage.tree, "maps")) == root
    assert objects.listed == {"changes/": 1}


def test_a_handle_from_before_a_restart_lists_one_prefix(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    file = resolve(stage.tree, "maps/1.0.0/f")
    stage.reopen()
    objects.listed.clear()
    for _ in range(3):
        assert stage.tree.node(file.place) == file
        stage.clock.pass_freshness()
    assert objects.listed == {f"datasets/{name_prefix('maps')}/": 1}


def test_a_handle_of_a_dataset_that_is_gone_is_stale_after_one_look(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    place = resolve(stage.tree, "maps/1.0.0/f").place
    stage.catalogue.delete("maps")
    stage.reopen()
    for _ in range(3):
        with pytest.raises(StaleNode):
            stage.tree.node(place)
    assert objects.listed["datasets/"] == 1


def test_the_time_of_the_root_moves_with_every_publish_whether_or_not_it_was_listed(stage: StoreStage) -> None:
    times = []
    for step in range(6):
        stage.publish(f"set{step}", "1.0.0", {})
        times.append(stage.tree.node(stage.tree.root().place).mtime_ns)
        if step == 2:
            whole(stage.tree, stage.tree.root())
    assert times == sorted(set(times))


def test_a_large_root_is_listed_without_asking_for_each_dataset(
    stage: StoreStage, objects: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.publish("maps", "1.0.0", {})
    put_heads(objects, HEADS_READ)
    objects.fetched = 0
    objects.listed.clear()
    listing = stage.tree.children(stage.tree.root(), limit=10_000)
    assert len(listing.entries) == HEADS_READ + 1
    assert objects.fetched == 0
    assert objects.listed == {"changes/": 1, "datasets/": 1}
    assert stage.tree.children_warm(stage.tree.root(), limit=10_000) == listing
    entry = next(entry for entry in listing.entries if entry.name == b"maps")
    found = resolve(stage.tree, "maps")
    assert (entry.node.place, entry.node.fileid, entry.node.kind) == (found.place, found.fileid, found.kind)


def test_pages_of_a_large_root_show_each_dataset_once(stage: StoreStage, objects: Listings) -> None:
    put_heads(objects, 2 * FEW)  # too many for one page of a listing
    shown = whole(stage.tree, stage.tree.root(), page=300).entries
    assert sorted(entry.name for entry in shown) == [b"set-%d" % number for number in sorted(range(2 * FEW), key=str)]
    assert [entry.cookie for entry in shown] == sorted(cookie_of(entry.name.decode()) for entry in shown)


def test_a_large_store_is_listed_again_a_few_prefixes_at_a_time(stage: StoreStage, objects: Listings) -> None:
    put_heads(objects, 2 * FEW)
    whole(stage.tree, stage.tree.root())
    stage.clock.now_s += LISTED_S + 1
    gone = dataset_key("set-7")
    objects.delete(gone)  # and no hint says so
    looks = 0
    while b"set-7" in {entry.name for entry in whole(stage.tree, stage.tree.root()).entries}:
        looks += 1
        objects.listed.clear()
        stage.clock.pass_freshness()
        stage.tree.children(stage.tree.root())
        assert objects.listed.total() <= 1 + AT_ONCE
    assert looks <= len(PREFIXES) / AT_ONCE


def test_tags_in_memory_keep_their_bound(stage: StoreStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.vfs.live.VIEWS_SIZE", 10_000)
    for step in range(12):
        stage.publish(f"set{step}", "1.0.0", {})
        resolve(stage.tree, f"set{step}/1.0.0")
    live = stage.tree.live
    assert live._views_size == sum(view.cost for view in live.views_known()) <= 10_000
    assert len(live.views_known()) == len(live._viewed) > 1
    assert resolve(stage.tree, "set0/1.0.0").mtime_ns == resolve(stage.tree, "set0/1.0.0").mtime_ns


def put_heads(objects: Listings, count: int) -> None:
    """Put heads `set-0` and so on: enough for listings, which read none."""
    for number in range(count):
        objects.put(dataset_key(f"set-{number}"), encode_head(Head(f"set-{number}")))


def test_a_lost_hint_is_made_up_for_by_a_listing_of_everything(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    hints = {info.key: objects.get(info.key) for info in objects.list("changes/")}
    stage.tree.node(stage.tree.root().place)
    stage.catalogue.delete("maps")
    for info in list(objects.list("changes/")):
        objects.delete(info.key)
    assert hints
    stage.clock.now_s += LISTED_S + 1
    assert names(whole(stage.tree, stage.tree.root())) == []


def test_the_time_of_a_dataset_strictly_grows_with_every_change(stage: StoreStage) -> None:
    seen = []
    stage.publish("maps", "latest", {b"f": b"0"})
    for step in range(5):
        stage.publish("maps", "latest", {b"f": b"%d" % step})
        stage.publish("maps", f"1.0.{step}", {b"f": b"%d" % step})
        seen.append(resolve(stage.tree, "maps"))
        stage.catalogue.untag("maps", f"1.0.{step}")
        stage.clock.pass_freshness()
        seen.append(resolve(stage.tree, "maps"))
    times = [node.mtime_ns for node in seen]
    assert times == sorted(set(times))
    assert [node.ctime_ns for node in seen] == times
    assert len({node.fileid for node in seen}) == 1


def test_removing_a_dataset_is_seen_by_the_root(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", {})
    stage.publish("@geo/roads", "1.0.0", {})
    stage.catalogue.delete("@geo/roads")
    stage.clock.pass_freshness()
    assert names(whole(stage.tree, stage.tree.root())) == [b"maps"]
    stage.publish("@geo/roads", "2.0.0", {})
    assert sorted(names(whole(stage.tree, stage.tree.root()))) == [b"@geo", b"maps"]


def test_digests_and_cookies_of_names_are_those_of_format_1() -> None:
    assert digest64("maps") == 4395278687533039162
    assert digest64("@geo") == 8203532728073491585
    assert cookie_of("maps") == 4395278687533039163
    assert all(0 < cookie_of(f"set{n}") < 2**63 - 8 for n in range(1000))


def test_while_the_store_is_away_what_was_known_is_shown_and_not_everyone_asks(
    stage: StoreStage, objects: Listings
) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    assert resolve(stage.tree, "maps/1.0.0/f").size == 3
    whole(stage.tree, stage.tree.root())
    objects.away = True
    stage.clock.pass_freshness()
    objects.fetched = 0
    for _ in range(10):
        assert resolve(stage.tree, "maps/1.0.0/f").size == 3
        assert names(whole(stage.tree, stage.tree.root())) == [b"maps"]
    stage.tree.live.wait()
    assert objects.fetched == 1
    stage.clock.now_s += 2 * ASK_AGAIN_S
    for _ in range(10):
        resolve(stage.tree, "maps/1.0.0/f")
    stage.tree.live.wait()
    assert objects.fetched == 2


def test_while_the_store_is_away_nobody_waits_for_it_a_second_time(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    resolve(stage.tree, "maps/1.0.0/f")
    objects.away = True
    stage.clock.pass_freshness()
    resolve(stage.tree, "maps/1.0.0/f")  # who finds out waits
    stage.clock.now_s += 2 * ASK_AGAIN_S
    objects.silent = threading.Event()
    assert resolve(stage.tree, "maps/1.0.0/f").size == 3
    assert stage.tree.live._asking is not None
    assert stage.tree.live._asking.is_alive()
    objects.silent.set()
    stage.tree.live.wait()


def test_what_was_never_seen_is_not_invented_while_the_store_is_away(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    stage.reopen()
    objects.away = True
    with pytest.raises(StoreUnavailable):
        resolve(stage.tree, "maps")
    with pytest.raises(StoreUnavailable):
        stage.tree.children(stage.tree.root())


def test_a_store_that_is_back_is_noticed_by_who_looks_behind(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "latest", {b"f": b"one"})
    resolve(stage.tree, "maps/latest/f")
    objects.away = True
    stage.clock.pass_freshness()
    resolve(stage.tree, "maps/latest/f")
    objects.away = False
    stage.publish("maps", "latest", {b"f": b"two!"})
    stage.clock.now_s += 2 * ASK_AGAIN_S
    resolve(stage.tree, "maps/latest/f")  # the first to ask makes somebody look
    stage.tree.live.wait()
    assert resolve(stage.tree, "maps/latest/f").size == 4


def test_a_store_that_is_away_for_long_is_told(stage: StoreStage, objects: Listings) -> None:
    stage.publish("maps", "1.0.0", {})
    resolve(stage.tree, "maps/1.0.0")
    objects.away = True
    stage.clock.now_s += BRIDGED_S + 1
    with pytest.raises(StoreUnavailable):
        resolve(stage.tree, "maps")
    with pytest.raises(StoreUnavailable):
        stage.tree.children(stage.tree.root())


def test_a_prefix_that_two_states_share_names_neither() -> None:
    def tag(n: int, manifest: str) -> TagState:
        return TagState(f"t{n}", n, TagKind.CHANNEL, Content(manifest, "00" * 32, 1, 1), 0)

    one, other, apart = "ab" * 16 + "00" * 16, "ab" * 16 + "01" * 16, "cd" * 32
    tags = [tag(1, one), tag(2, one), tag(3, apart)]
    view = View("maps", 1, 1, 0, {t.tag: t for t in tags}, {t.n: t for t in tags})
    found = view.content(bytes.fromhex("ab" * 16))
    assert found is not None
    assert found.manifest == one
    assert view.content(bytes(16)) is None
    tags.append(tag(4, other))
    view = View("maps", 1, 1, 0, {t.tag: t for t in tags}, {t.n: t for t in tags})
    with pytest.raises(AmbiguousNode, match="several states of maps"):
        view.content(bytes.fromhex("ab" * 16))
