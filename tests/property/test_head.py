"""A dataset behaves like a plain table of tags and list of commits, however often its head spills."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from store.catalogue.head import HEAD_LIMIT, decode_head, encode_head
from store.catalogue.history import Archive
from store.catalogue.refs import TagKind, kind_of
from store.errors import ObjectCorrupt, TagExists, TagMissing
from store.layout import dataset_key
from tests.unit.store.faults import FaultyStore
from tests.unit.store.states import content, new_catalogue

TAGS = st.sampled_from(["latest", "qa", "v1", "1.0.0", "1.0.1", "2026.01", *(f"c{i}" for i in range(12))])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.lists(TAGS, min_size=1, max_size=4, unique=True), st.integers(0, 5)),
        st.tuples(st.just("untag"), st.lists(TAGS, min_size=1, max_size=1), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_catalogue_behaves_like_a_table_however_often_it_spills(steps: list[tuple[str, list[str], int]]) -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store, Archive(store, spill_from=3000, keep=300))
    catalogue.set_tags("geo", ["first"], content("first"))
    tags, tombs, commits = {"first": content("first")}, dict[str, str](), 1
    for op, names, number in steps:
        wanted = content(number)
        if op == "untag":
            (name,) = names
            try:
                catalogue.untag("geo", name)
            except TagMissing:
                assert name not in tags
                continue
            commits += 1
            if kind_of(name) is TagKind.VERSION:
                tombs[name] = tags[name].manifest
            del tags[name]
            continue
        versions = [name for name in names if kind_of(name) is TagKind.VERSION]
        clash = any(
            (name in tags and tags[name] != wanted)
            or (name not in tags and tombs.get(name, wanted.manifest) != wanted.manifest)
            for name in versions
        )
        try:
            change = catalogue.set_tags("geo", names, wanted)
        except TagExists:
            assert clash
            continue
        assert not clash
        assert set(change.changed) == {name for name in names if tags.get(name) != wanted}
        commits += bool(change.changed)
        tags.update(dict.fromkeys(names, wanted))
    fresh = new_catalogue(store)
    assert {tag.tag: tag.content for tag in fresh.tags("geo")} == tags
    assert [entry.n for entry in fresh.log("geo")] == list(range(commits, 0, -1))
    times = [entry.time_ns for entry in fresh.log("geo")]
    assert all(newer > older for newer, older in itertools.pairwise(times))
    assert fresh.head("geo").seq == commits
    assert store.head(dataset_key("geo")).size < HEAD_LIMIT


@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 50))
def test_damaged_head_is_a_head_or_object_corrupt(damage: bytes, at: int, cut: int) -> None:
    store = FaultyStore()
    new_catalogue(store).set_tags("geo", ["1.0.0", "latest"], content("a"), message="m", by="me")
    good = store.get(dataset_key("geo"))
    at %= len(good)
    try:
        head = decode_head("geo", good[:at] + damage + good[at + cut :])
    except ObjectCorrupt:
        return
    assert encode_head(decode_head("geo", encode_head(head))) == encode_head(head)
