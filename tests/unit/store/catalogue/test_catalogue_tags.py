"""How tags change: versions, channels, several writers, lost answers."""

import json
from dataclasses import replace

import pytest

from store import jsondoc
from store.catalogue.catalogue import Catalogue
from store.catalogue.head import TagState, decode_head, encode_head
from store.catalogue.refs import TagKind
from store.errors import BadName, DatasetMissing, FeatureMissing, TagExists, TagMissing, TagMoved, TagNameTaken
from store.layout import ROOT_KEY, dataset_key
from tests.unit.store.faults import FaultyStore
from tests.unit.store.states import content, new_catalogue

A, B, C = content("a"), content("b"), content("c")


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def catalogue(store: FaultyStore) -> Catalogue:
    return new_catalogue(store)


def test_version_set_to_its_own_state_changes_nothing(store: FaultyStore, catalogue: Catalogue) -> None:
    before = catalogue.set_tags("geo", ["1.0.0"], A).head
    again = catalogue.set_tags("geo", ["1.0.0"], A)
    assert (again.changed, again.entry) == ((), None)
    assert catalogue.head("geo") == before


def test_version_with_other_content_is_refused_and_nothing_else_moves(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0", "latest"], A)
    with pytest.raises(TagExists) as caught:
        catalogue.set_tags("geo", ["latest", "1.0.0", "2.0.0"], B)
    assert (caught.value.tag, caught.value.has, caught.value.wanted) == ("1.0.0", A.manifest, B.manifest)
    assert catalogue.resolve("geo").content == A
    assert [tag.tag for tag in catalogue.tags("geo")] == ["1.0.0", "latest"]


def test_removed_version_comes_back_for_its_own_state_only_and_with_a_new_number(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0"], A)
    catalogue.untag("geo", "1.0.0")
    with pytest.raises(TagMissing):
        catalogue.resolve("geo:1.0.0")
    with pytest.raises(TagExists):
        catalogue.set_tags("geo", ["1.0.0"], B)
    catalogue.set_tags("geo", ["1.0.0"], A)
    assert catalogue.resolve("geo:1.0.0").tag_n == 2


def test_removed_channel_comes_back_for_any_state(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["QA"], A)
    catalogue.untag("geo", "QA")
    catalogue.set_tags("geo", ["qa"], B)
    assert [tag.tag for tag in catalogue.tags("geo")] == ["qa"]


def test_moving_a_channel_keeps_its_number(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["latest"], A)
    catalogue.set_tags("geo", ["latest"], B)
    state = catalogue.resolve("geo")
    assert (state.content, state.tag_n) == (B, 1)


@pytest.mark.parametrize(("first", "second"), [("Latest", "latest"), ("1.0.0-RC1", "1.0.0-rc1")])
def test_tag_that_differs_by_case_alone_is_refused(catalogue: Catalogue, first: str, second: str) -> None:
    catalogue.set_tags("geo", [first], A)
    with pytest.raises(TagNameTaken) as caught:
        catalogue.set_tags("geo", [second], A)
    assert caught.value.existing == first
    with pytest.raises(TagMissing):
        catalogue.untag("geo", second)


def test_removed_version_keeps_its_spelling(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0-RC1"], A)
    catalogue.untag("geo", "1.0.0-RC1")
    with pytest.raises(TagNameTaken):
        catalogue.set_tags("geo", ["1.0.0-rc1"], A)


def test_what_cannot_be_set_at_once_is_refused(catalogue: Catalogue) -> None:
    for tags in (["qa", "QA"], [], [f"t{i}" for i in range(257)], ["a/b"]):
        with pytest.raises(BadName):
            catalogue.set_tags("geo", tags, A)
    for texts in ({"message": "x" * 4097}, {"by": "x" * 257}):
        with pytest.raises(BadName):
            catalogue.set_tags("geo", ["qa"], A, **texts)  # type: ignore[arg-type]  # the texts are strings
    assert list(catalogue.datasets()) == []


def test_two_publishers_of_one_channel_one_wins_and_the_other_is_told_who(store: FaultyStore) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    ann.set_tags("geo", ["latest"], A)
    parents = {"latest": A.manifest}
    store.before = lambda: bob.set_tags("geo", ["latest"], B, by="bob", parents=parents)
    with pytest.raises(TagMoved) as caught:
        ann.set_tags("geo", ["latest"], C, by="ann", parents=parents)
    winner = bob.head("geo").history[-1]
    assert (caught.value.expected, caught.value.actual) == (A.manifest, B.manifest)
    assert "by bob" in caught.value.winner
    assert winner.operation in caught.value.winner
    assert "2023-11-14 22:13:20 UTC" in caught.value.winner
    assert ann.resolve("geo").content == B


def test_two_publishers_of_a_new_channel_one_wins(store: FaultyStore) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    store.before = lambda: bob.set_tags("geo", ["latest"], B, parents={"latest": ""})
    with pytest.raises(TagMoved, match="expected to be absent"):
        ann.set_tags("geo", ["latest"], C, parents={"latest": ""})


def test_channel_that_was_removed_meanwhile_is_a_conflict(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["latest", "qa"], A)
    catalogue.untag("geo", "latest", by="bob")
    with pytest.raises(TagMoved, match=r"but is absent since .* by bob"):
        catalogue.set_tags("geo", ["latest"], B, parents={"latest": A.manifest})


def test_two_publishers_of_one_content_agree(store: FaultyStore) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    store.before = lambda: bob.set_tags("geo", ["latest"], B, parents={"latest": ""})
    assert ann.set_tags("geo", ["latest"], B, parents={"latest": ""}).changed == ()


def test_changes_of_different_tags_are_merged(store: FaultyStore) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    ann.set_tags("geo", ["latest"], A)
    store.before = lambda: bob.set_tags("geo", ["qa", "1.0.0"], B)
    assert ann.set_tags("geo", ["latest", "2.0.0"], C, parents={"latest": A.manifest}).changed == ("latest", "2.0.0")
    named = {tag.tag: tag.content for tag in ann.tags("geo")}
    assert named == {"latest": C, "qa": B, "1.0.0": B, "2.0.0": C}
    assert len({tag.n for tag in ann.tags("geo")}) == 4


@pytest.mark.parametrize("fault", ["lost answer", "refused though written"])
def test_lost_answer_after_the_commit_is_success(store: FaultyStore, fault: str) -> None:
    catalogue = new_catalogue(store)
    store.faults = [fault]  # type: ignore[list-item]  # one of the literals, as a plain string
    catalogue.set_tags("geo", ["latest"], A, parents={"latest": ""})
    assert [entry.content for entry in catalogue.log("geo")] == [A]


@pytest.mark.parametrize("fault", ["lost answer", "refused though written"])
def test_lost_answer_is_success_though_another_moved_the_channel_since(store: FaultyStore, fault: str) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    store.faults = [fault]  # type: ignore[list-item]  # one of the literals, as a plain string
    store.between = lambda: bob.set_tags("geo", ["latest"], B)
    change = ann.set_tags("geo", ["latest"], A, parents={"latest": ""})
    assert change.entry is not None
    assert (change.entry.n, change.entry.content) == (1, A)
    assert [entry.content for entry in ann.log("geo")] == [B, A]
    assert ann.resolve("geo").content == B


def test_lost_request_is_a_conflict_when_another_moved_the_channel_meanwhile(store: FaultyStore) -> None:
    ann, bob = new_catalogue(store), new_catalogue(store)
    ann.set_tags("geo", ["latest"], A)
    store.faults = ["lost request"]
    store.between = lambda: bob.set_tags("geo", ["latest"], B)
    with pytest.raises(TagMoved):
        ann.set_tags("geo", ["latest"], C, parents={"latest": A.manifest})


@pytest.mark.parametrize("spell", [A.manifest, A.manifest[:12], "b3-" + A.manifest[:20]])
def test_expected_id_may_be_short(catalogue: Catalogue, spell: str) -> None:
    catalogue.set_tags("geo", ["latest"], A)
    catalogue.set_tags("geo", ["latest"], B, expect={"latest": spell})
    with pytest.raises(TagMoved):
        catalogue.set_tags("geo", ["latest"], C, expect={"latest": spell})


@pytest.mark.parametrize("expected", ["", A.manifest[:11], B.manifest])
def test_expectation_that_does_not_hold_is_a_conflict(catalogue: Catalogue, expected: str) -> None:
    catalogue.set_tags("geo", ["latest"], A)
    for wished in (A, C):
        with pytest.raises(TagMoved):
            catalogue.set_tags("geo", ["latest"], wished, expect={"latest": expected})
    with pytest.raises(TagMoved):
        catalogue.set_tags("geo", ["other"], C, expect={"latest": expected})
    with pytest.raises(TagMoved):
        catalogue.untag("geo", "latest", expect=expected)
    with pytest.raises(TagMoved):
        catalogue.rollback("geo", "latest", expect=expected)


def test_kind_of_an_existing_tag_is_not_decided_again(store: FaultyStore, catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["v1"], A)
    head = decode_head("geo", store.get(dataset_key("geo")))
    tag = head.tags["v1"]
    assert isinstance(tag, TagState)
    store.put(dataset_key("geo"), encode_head(replace(head, tags={"v1": replace(tag, kind=TagKind.VERSION)})))
    with pytest.raises(TagExists):
        catalogue.set_tags("geo", ["v1"], B)


def test_rollback_repeated_goes_further_back(catalogue: Catalogue) -> None:
    for what in (A, B, C):
        catalogue.set_tags("geo", ["latest"], what)
        catalogue.set_tags("geo", ["qa"], what)
    seen = []
    for _ in range(2):
        catalogue.rollback("geo", "latest", by="ann")
        seen.append(catalogue.resolve("geo").content)
    assert seen == [B, A]
    assert next(catalogue.log("geo")).origin == 1
    with pytest.raises(TagMissing, match="before the present one"):
        catalogue.rollback("geo", "latest")
    assert catalogue.resolve("geo:qa").content == C


def test_push_after_a_rollback_is_rolled_back_to_what_the_rollback_had_restored(catalogue: Catalogue) -> None:
    for what in (A, B):
        catalogue.set_tags("geo", ["latest"], what)
    catalogue.rollback("geo", "latest")
    catalogue.set_tags("geo", ["latest"], C)
    catalogue.rollback("geo", "latest")
    assert catalogue.resolve("geo").content == A
    with pytest.raises(TagMissing):
        catalogue.rollback("geo", "latest")


def test_version_is_not_rolled_back(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0"], A)
    with pytest.raises(BadName, match="never moves"):
        catalogue.rollback("geo", "1.0.0")


def test_dataset_made_again_keeps_its_versions_promises_and_hides_its_past(catalogue: Catalogue) -> None:
    catalogue.set_tags("geo", ["1.0.0", "latest"], A)
    before = catalogue.delete("geo", by="ann").head
    for act in (catalogue.resolve, catalogue.log, catalogue.delete):
        with pytest.raises(DatasetMissing):
            act("geo")
    with pytest.raises(TagExists):
        catalogue.set_tags("geo", ["1.0.0"], B)
    after = catalogue.set_tags("geo", ["latest"], B).head
    assert after.seq > before.seq
    assert [tag.tag for tag in catalogue.tags("geo")] == ["latest"]
    assert catalogue.tags("geo")[0].n == 3
    with pytest.raises(TagMissing):
        catalogue.resolve(f"geo@b3-{A.manifest}")
    with pytest.raises(TagMissing):
        catalogue.rollback("geo", "latest")


def test_store_that_has_come_to_need_more_is_not_written(store: FaultyStore, catalogue: Catalogue) -> None:
    root = store.get(ROOT_KEY).replace(b'"write":[]', b'"write":["teleport"]')
    store.put(ROOT_KEY, jsondoc.encode(json.loads(root)))
    with pytest.raises(FeatureMissing, match="teleport"):
        catalogue.set_tags("geo", ["latest"], A)
    assert list(catalogue.datasets()) == []
