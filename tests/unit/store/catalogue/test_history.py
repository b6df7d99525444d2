"""Heads that grow past what they can hold: nothing is lost, and the head stays small."""

import functools
from dataclasses import replace

import pytest

from store.catalogue.head import HEAD_LIMIT, Head, HistoryEntry, Removed, TagState, encode_head
from store.catalogue.history import FAN_OUT, SPILL_FROM, Archive
from store.catalogue.refs import TagKind
from store.errors import ObjectCorrupt, TagExists, TagMissing, TagNameTaken
from store.layout import dataset_key
from tests.unit.store.faults import FaultyStore
from tests.unit.store.states import DAY_NS, content, new_catalogue


def entry(number: int) -> HistoryEntry:
    return HistoryEntry(number, number * 10, "push", f"{number:024x}", ("latest",), content(number), None, "", "me")


def with_history(archive: Archive, count: int, step: int) -> Head:
    """Grow a head by `count` entries, given to the archive `step` at a time."""
    head = Head("geo")
    for first in range(1, count + 1, step):
        added = tuple(entry(number) for number in range(first, min(first + step, count + 1)))
        head = archive.spill(replace(head, history=(*head.history, *added)))
    return head


@pytest.mark.slow
def test_twenty_thousand_moves_leave_a_small_head_and_a_whole_log() -> None:
    store = FaultyStore()
    head = with_history(Archive(store), 20_000, 500)
    assert len(encode_head(head)) <= SPILL_FROM
    assert [e.n for e in Archive(store).entries(head)] == list(range(20_000, 0, -1))


def test_segments_are_folded_so_that_a_head_names_few() -> None:
    store = FaultyStore()
    archive = Archive(store, spill_from=1000, keep=300)
    count = 5 * FAN_OUT * FAN_OUT
    head = with_history(archive, count, 3)
    assert max(ref.level for ref in head.older) == 2
    assert len(head.older) < 3 * FAN_OUT
    assert [e.n for e in Archive(store).entries(head)] == list(range(count, 0, -1))


def test_log_before_a_time_reads_no_segment_that_is_newer() -> None:
    store = FaultyStore()
    head = with_history(Archive(store, spill_from=1000, keep=300), 3000, 3)
    for number in (1, 2, 50, 1499, 2999, 3000):
        reader = Archive(store)
        store.gets.clear()
        assert next(reader.entries(head, before_ns=number * 10 + 1)) == entry(number)
        assert len(store.gets) <= 3


@pytest.mark.slow
def test_ten_thousand_tags_keep_the_head_small_and_all_answer() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store)
    for first in range(0, 10_000, 200):
        tags = [f"0.{first}.{i}" for i in range(199)]
        catalogue.set_tags("geo", [*tags, "latest"], content(first))
    for move in range(100):
        catalogue.set_tags("geo", ["latest", f"channel-{move % 7}"], content(("move", move)))
    assert store.head(dataset_key("geo")).size < HEAD_LIMIT
    fresh = new_catalogue(store)
    assert len(fresh.tags("geo")) == 9950 + 1 + 7
    assert len({tag.n for tag in fresh.tags("geo")}) == 9950 + 1 + 7
    for first in range(0, 10_000, 200):
        assert fresh.resolve(f"geo:0.{first}.77").content == content(first)
    assert fresh.resolve("geo").content == content(("move", 99))
    assert fresh.resolve("geo@^0.9800").content == content(9800)
    assert len(list(fresh.log("geo"))) == 150
    assert len(list(fresh.log("geo", "channel-3"))) == 14
    assert len(fresh.head("geo").tagged) < 15
    with pytest.raises(TagExists):
        fresh.set_tags("geo", ["0.0.5"], content("other"))


def test_removing_a_dataset_of_many_versions_keeps_their_promises() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store)
    for first in range(0, 3000, 250):
        catalogue.set_tags("geo", [f"1.{first}.{i}" for i in range(250)], content(first))
    catalogue.delete("geo")
    assert store.head(dataset_key("geo")).size < HEAD_LIMIT
    assert list(catalogue.datasets()) == []
    fresh = new_catalogue(store)
    for first in (0, 1500, 2750):
        with pytest.raises(TagExists):
            fresh.set_tags("geo", [f"1.{first}.7"], content("other"))
    fresh.set_tags("geo", ["1.0.7"], content(0))
    assert [tag.tag for tag in fresh.tags("geo")] == ["1.0.7"]


def test_names_of_very_many_removed_versions_are_kept_in_several_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.catalogue.history.SEGMENT_TAGS", 100)
    store = FaultyStore()
    catalogue = new_catalogue(store, Archive(store, spill_from=4000, keep=500))
    catalogue.set_tags("geo", [f"1.0.{i}" for i in range(250)], content(1))
    catalogue.delete("geo")
    catalogue.set_tags("geo", ["latest"], content(2))
    fresh = new_catalogue(store)
    assert max(ref.count for ref in fresh.head("geo").tagged) <= 100
    for i in (0, 101, 249):
        with pytest.raises(TagExists):
            fresh.set_tags("geo", [f"1.0.{i}"], content(2))
        fresh.set_tags("geo", [f"1.0.{i}"], content(1))


def test_a_removed_version_that_was_spilled_comes_back_for_its_own_state_alone() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store, Archive(store, spill_from=4000, keep=500))
    catalogue.set_tags("geo", ["1.0.0", "Stable"], content(1))
    catalogue.untag("geo", "1.0.0")
    for move in range(100):
        catalogue.set_tags("geo", ["latest"], content(("move", move)))
    assert not {"1.0.0", "stable"} & catalogue.head("geo").tags.keys()
    fresh = new_catalogue(store)
    with pytest.raises(TagExists):
        fresh.set_tags("geo", ["1.0.0"], content(2))
    with pytest.raises(TagNameTaken):
        fresh.set_tags("geo", ["stable"], content(2))
    fresh.set_tags("geo", ["1.0.0"], content(1))
    assert fresh.resolve("geo:1.0.0").content == content(1)


def test_a_removed_dataset_of_long_history_goes_on_counting() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store, Archive(store, spill_from=4000, keep=500))
    for move in range(60):
        catalogue.set_tags("geo", ["latest", f"1.0.{move}"], content(move))
    catalogue.delete("geo")
    assert list(catalogue.datasets()) == []
    made = new_catalogue(store).set_tags("geo", ["latest"], content("new"))
    assert (made.head.seq, made.head.next_entry, made.head.next_tag) == (62, 63, 63)
    with pytest.raises(TagExists):
        new_catalogue(store).set_tags("geo", ["1.0.3"], content("new"))


def test_change_of_a_spilled_tag_hides_what_the_segment_says() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store, Archive(store, spill_from=4000, keep=500))
    for i in range(30):
        catalogue.set_tags("geo", [f"channel-{i}"], content(i))
    assert "channel-0" not in catalogue.head("geo").tags
    assert catalogue.resolve("geo:channel-0").tag_n == 1
    catalogue.set_tags("geo", ["channel-0"], content("moved"))
    catalogue.untag("geo", "channel-1")
    state = catalogue.resolve("geo:channel-0")
    assert (state.content, state.tag_n) == (content("moved"), 1)
    with pytest.raises(TagMissing):
        catalogue.resolve("geo:channel-1")
    for i in range(30, 90):
        catalogue.set_tags("geo", [f"channel-{i}"], content(i))
    with pytest.raises(TagMissing):
        catalogue.resolve("geo:channel-1")
    assert catalogue.resolve("geo:channel-0").content == content("moved")
    assert len(catalogue.tags("geo")) == 89


def test_removed_channels_are_forgotten_when_nothing_is_left_to_hide() -> None:
    store = FaultyStore()
    archive = Archive(store, spill_from=200, keep=300)
    tag = TagState("v", 1, TagKind.VERSION, content(1), 0)
    gone = {f"c{i}": Removed(f"c{i}", "") for i in range(40)}
    head = archive.spill(Head("geo", tags={"v": tag, **gone, "w": Removed("w", content(2).manifest)}))
    assert set(archive.records(head)) == {"v", "w"}


def test_dates_and_digests_reach_into_old_history() -> None:
    store = FaultyStore()
    start = store.time_ns // DAY_NS * DAY_NS  # 2023-11-14
    catalogue = new_catalogue(store, Archive(store, spill_from=6000, keep=500))
    for day in range(20):
        for move in range(5):
            store.time_ns = start + day * DAY_NS + move
            catalogue.set_tags("geo", ["latest"], content((day, move)))
    assert len(catalogue.head("geo").older) > 1
    for day in range(16):
        assert catalogue.resolve(f"geo@2023-11-{14 + day}").content == content((day, 4))
    old = content((0, 2))
    assert catalogue.resolve(f"geo@b3-{old.manifest[:14]}").content == old
    assert catalogue.resolve(f"geo@b3-{old.manifest}").content == old


def test_damaged_segment_is_object_corrupt_with_its_key() -> None:
    store = FaultyStore()
    head = with_history(Archive(store, spill_from=2000, keep=300), 20, 5)
    key = next(info.key for info in store.list("history/"))
    store.put(key, store.get(key).replace(b'"me"', b'"mo"'))
    with pytest.raises(ObjectCorrupt) as caught:
        list(Archive(store).entries(head))
    assert caught.value.key == key


def test_two_writers_that_spill_at_once_do_not_overwrite_each_other() -> None:
    store = FaultyStore()
    ann, bob = (new_catalogue(store, Archive(store, spill_from=4000, keep=500)) for _ in range(2))
    for i in range(60):
        if i % 2:
            store.before = functools.partial(bob.set_tags, "geo", ["bob"], content(("bob", i)))
        ann.set_tags("geo", ["ann"], content(("ann", i)))
    assert [e.n for e in new_catalogue(store).log("geo")] == list(range(90, 0, -1))


def test_reading_spilled_history_again_asks_the_store_no_more() -> None:
    store = FaultyStore()
    archive = Archive(store, spill_from=2000, keep=300)
    head = with_history(archive, 40, 5)
    first = list(archive.entries(head))
    for info in list(store.list("history/")):
        store.delete(info.key)
    assert list(archive.entries(head)) == first


def test_cache_of_segments_keeps_its_bound() -> None:
    store = FaultyStore()
    archive = Archive(store, spill_from=2000, keep=300, cache_size=10_000)
    head = with_history(archive, 200, 5)
    assert len(list(archive.entries(head))) == 200
    assert archive.cached <= 10_000
