"""What references mean, and how datasets are listed and remembered."""

import functools

import pytest

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.catalogue.refs import TagKind
from store.errors import BadName, DatasetMissing, ObjectCorrupt, TagMissing
from store.layout import ROOT_KEY, change_key, dataset_key, name_prefix
from store.root import open_store
from tests.unit.store.faults import FaultyStore
from tests.unit.store.states import DAY_NS, content, new_catalogue


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def catalogue(store: FaultyStore) -> Catalogue:
    return new_catalogue(store)


def test_push_makes_the_dataset_and_its_tags_resolve(catalogue: Catalogue) -> None:
    change = catalogue.set_tags("@geo/city", ["1.0.0", "latest"], content("a"), message="first", by="ann")
    assert change.changed == ("1.0.0", "latest")
    for reference in ("@geo/city", "@geo/city:1.0.0", "@geo/city@^1", f"@geo/city@b3-{content('a').manifest[:12]}"):
        assert catalogue.resolve(reference).content == content("a"), reference
    state = catalogue.resolve("@geo/city:1.0.0")
    assert (state.tag, state.tag_n, state.kind, state.manifest) == ("1.0.0", 1, TagKind.VERSION, content("a").manifest)
    assert state.entry is not None
    assert (state.entry.message, state.entry.by, state.entry.op) == ("first", "ann", "push")


@pytest.mark.parametrize(
    "reference", ["geo:nope", "geo:LATEST", "geo@^9", "geo@b3-000000000000", "geo@2020-01-01", "geo:qa@2100-01-01"]
)
def test_what_a_dataset_has_not_is_tag_missing(catalogue: Catalogue, reference: str) -> None:
    catalogue.set_tags("geo", ["1.0.0", "latest"], content("a"))
    with pytest.raises(TagMissing):
        catalogue.resolve(reference)


def test_what_is_not_there_is_dataset_missing(catalogue: Catalogue) -> None:
    for act in (catalogue.resolve, catalogue.head, catalogue.log, catalogue.tags, catalogue.delete):
        with pytest.raises(DatasetMissing):
            act("geo")
    with pytest.raises(DatasetMissing):
        catalogue.untag("geo", "latest")


def test_range_means_its_newest_version(catalogue: Catalogue) -> None:
    for tag in ("1.2.0", "1.10.0", "1.9.0", "1.11.0-rc.1", "2.0.0", "2026.01", "2026.01.15", "1.12"):
        catalogue.set_tags("geo", [tag], content(tag))
    assert catalogue.resolve("geo@^1.2").tag == "1.10.0"
    assert catalogue.resolve("geo@>=1.11.0-0").tag == "2026.01.15"
    assert catalogue.resolve("geo@~1.11.0-0").tag == "1.11.0-rc.1"
    assert catalogue.resolve("geo@>=1 <3").tag == "2.0.0"
    assert catalogue.resolve("geo@2026.*").tag == "2026.01.15"


def test_of_versions_that_differ_by_build_alone_the_one_made_last_wins(catalogue: Catalogue) -> None:
    for tag in ("1.0.0+a", "1.0.0+b"):
        catalogue.set_tags("geo", [tag], content(tag))
    assert catalogue.resolve("geo@1.0.0").tag == "1.0.0+b"


def test_date_means_the_channel_when_that_day_ended(store: FaultyStore, catalogue: Catalogue) -> None:
    midnight = 1_700_000_000 * 10**9 // DAY_NS * DAY_NS  # 2023-11-14
    for time_ns, what in ((midnight, "a"), (midnight + DAY_NS - 1, "b"), (midnight + DAY_NS, "c")):
        store.time_ns = time_ns
        catalogue.set_tags("geo", ["latest"], content(what))
    store.time_ns = midnight + 3 * DAY_NS
    catalogue.set_tags("geo", ["qa"], content("q"))
    store.time_ns = midnight + 5 * DAY_NS
    catalogue.untag("geo", "qa")
    assert catalogue.resolve("geo@2023-11-14").content == content("b")
    assert catalogue.resolve("geo@2023-11-15").content == content("c")
    assert catalogue.resolve("geo@9999-12-31").content == content("c")
    assert catalogue.resolve("geo:qa@2023-11-18").content == content("q")
    for absent in ("geo@2023-11-13", "geo:qa@2023-11-16", "geo:qa@2023-11-19"):
        with pytest.raises(TagMissing):
            catalogue.resolve(absent)


def test_state_named_by_digest_tells_when_it_was_published_while_it_has_a_tag_too(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0", "latest"], content("a"), message="first")
    catalogue.set_tags("geo", ["1.1.0", "latest"], content("b"), message="second")
    entry = catalogue.resolve(f"geo@b3-{content('a').manifest}").entry
    assert entry is not None
    assert entry.message == "first"


def test_state_that_no_tag_names_any_more_resolves_by_digest(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["latest"], content("a"))
    catalogue.set_tags("geo", ["latest"], content("b"))
    state = catalogue.resolve(f"geo@b3-{content('a').manifest}")
    assert (state.content, state.tag, state.tag_n) == (content("a"), None, 0)
    with pytest.raises(TagMissing):
        catalogue.resolve(f"geo@b3-{content('of another dataset').manifest}")


def test_digits_that_fit_two_states_are_refused_and_both_named(catalogue: Catalogue) -> None:
    for last in "ab":
        catalogue.set_tags("geo", ["latest"], Content("1234567890ab" + last * 52, "0" * 64, 0, 0))
    with pytest.raises(BadName, match="b3-1234567890abaaaaaaaa and b3-1234567890abbbbbbbbb"):
        catalogue.resolve("geo@b3-1234567890ab")
    assert catalogue.resolve("geo@b3-1234567890aba").manifest.endswith("aaaa")


def test_datasets_are_listed_by_prefix_without_the_removed_ones(store: FaultyStore, catalogue: Catalogue) -> None:
    for name in ("geo", "geo2", "@geo/city", "@geo/gone", "sky"):
        catalogue.set_tags(name, ["latest"], content(name))
    catalogue.delete("@geo/gone")
    store.put("datasets/00/strange", b"{}")
    assert sorted(catalogue.datasets()) == ["@geo/city", "geo", "geo2", "sky"]
    assert sorted(catalogue.datasets("geo")) == ["geo", "geo2"]
    assert sorted(catalogue.datasets("@geo/")) == ["@geo/city"]


def test_listing_reads_no_head(store: FaultyStore, catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["latest"], content("a"))
    store.fetches.clear()
    assert list(catalogue.datasets()) == ["geo"]
    assert store.fetches == []


def test_head_is_asked_for_again_only_when_it_is_too_old(store: FaultyStore) -> None:
    now = [0.0]
    new_catalogue(store).set_tags("geo", ["latest"], content("a"))
    reader = Catalogue(store, open_store(store), clock=lambda: now[0])
    first = reader.head("geo", max_age_s=10)
    new_catalogue(store).set_tags("geo", ["latest"], content("b"))
    store.fetches.clear()
    now[0] = 10.0
    assert reader.head("geo", max_age_s=10) is first
    assert store.fetches == []
    assert reader.head("geo").seq == 2
    again = reader.head("geo")
    assert reader.head("geo") is again  # by its ETag: not changed
    assert store.fetches == [dataset_key("geo")] * 3


def test_answer_that_comes_late_does_not_replace_a_newer_one(store: FaultyStore) -> None:
    reader = Catalogue(store, new_catalogue(store)._root, clock=lambda: 0.0)
    reader.set_tags("geo", ["latest"], content("a"))
    new_catalogue(store).set_tags("geo", ["latest"], content("b"))
    store.after_fetch = functools.partial(reader.set_tags, "geo", ["latest"], content("c"))
    assert reader.head("geo").seq == 2  # true when it was asked for
    assert reader.head("geo", max_age_s=5).seq == 3


def test_absence_is_remembered_for_as_long_as_allowed(store: FaultyStore) -> None:
    reader = Catalogue(store, new_catalogue(store)._root, clock=lambda: 0.0)
    for max_age_s in (5.0, 5.0):
        with pytest.raises(DatasetMissing):
            reader.head("geo", max_age_s=max_age_s)
    assert store.fetches.count(dataset_key("geo")) == 1
    new_catalogue(store).set_tags("geo", ["latest"], content("a"))
    assert reader.head("geo").seq == 1


def test_commit_bumps_the_hint_of_its_prefix(store: FaultyStore, catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["latest"], content("a"))
    key = change_key(name_prefix("geo"))
    before = store.get(key)
    catalogue.set_tags("geo", ["latest"], content("b"))
    assert store.get(key) != before


def test_log_tells_who_did_what_newest_first(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0", "latest"], content("a"), message="one", by="ann")
    catalogue.set_tags("geo", ["2.0.0", "latest"], content("b"), message="two", by="bob")
    catalogue.set_tags("geo", ["qa"], content("a"), op="tag")
    assert [(e.n, e.op, e.tags, e.message, e.by) for e in catalogue.log("geo")] == [
        (3, "tag", ("qa",), "", ""),
        (2, "push", ("2.0.0", "latest"), "two", "bob"),
        (1, "push", ("1.0.0", "latest"), "one", "ann"),
    ]
    assert [entry.n for entry in catalogue.log("geo", "latest")] == [2, 1]
    with pytest.raises(TagMissing):
        catalogue.log("geo", "nope")


def test_log_of_a_removed_tag_still_answers(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["qa", "latest"], content("a"))
    catalogue.untag("geo", "qa")
    assert [entry.op for entry in catalogue.log("geo", "qa")] == ["untag", "push"]


def test_record_of_another_store_stops_a_commit(store: FaultyStore, catalogue: Catalogue) -> None:
    other = FaultyStore()
    new_catalogue(other)
    store.put(ROOT_KEY, other.get(ROOT_KEY))
    with pytest.raises(ObjectCorrupt):
        catalogue.set_tags("geo", ["latest"], content("a"))
    assert list(catalogue.datasets()) == []
