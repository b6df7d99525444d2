"""The store's own record."""

import json
from typing import Any

import pytest

from store import jsondoc
from store.errors import FeatureMissing, ObjectCorrupt, StoreMissing
from store.layout import ROOT_KEY
from store.root import (
    ROOT_LIMIT,
    ChunkerSettings,
    create_store,
    decode_root,
    encode_root,
    open_store,
    refreshed,
)
from store.secret import Secret
from tests.unit.store.faults import FaultyStore


def changed(store: FaultyStore, **fields: Any) -> None:
    store.put(ROOT_KEY, jsondoc.encode({**json.loads(store.get(ROOT_KEY)), **fields}))


def test_new_store_opens_as_it_was_made() -> None:
    store = FaultyStore()
    made = create_store(store)
    assert made.fresh
    assert open_store(store) == made.root
    assert made.root.chunker == ChunkerSettings("fastcdc", 16384, 65536, 262144, 1, 0)
    assert len(made.root.handle_key.reveal()) == 32
    assert json.loads(store.get(ROOT_KEY))["seq"] == 1


def test_making_a_store_twice_keeps_the_first() -> None:
    store = FaultyStore()
    first, second = create_store(store), create_store(store)
    assert not second.fresh
    assert second.root == first.root


def test_store_whose_first_answer_was_lost_is_ours() -> None:
    store = FaultyStore()
    store.faults = ["lost answer"]
    assert create_store(store).fresh


def test_store_made_by_another_at_the_same_time_is_theirs() -> None:
    store = FaultyStore()
    store.before = lambda: other.append(create_store(store))
    other: list[Any] = []
    mine = create_store(store)
    assert not mine.fresh
    assert mine.root == other[0].root


def test_two_stores_have_nothing_in_common() -> None:
    one, other = create_store(FaultyStore()).root, create_store(FaultyStore()).root
    assert one.store != other.store
    assert one.handle_key != other.handle_key


def test_no_store_is_store_missing() -> None:
    with pytest.raises(StoreMissing):
        open_store(FaultyStore())


def test_keys_never_show() -> None:
    root = create_store(FaultyStore()).root
    assert root.handle_key.reveal().hex() not in repr(root)
    assert "32 bytes" in repr(root.handle_key)
    assert repr(root.handle_key.reveal()) not in f"{root} {root.handle_key!r} {Secret(b'abc')}"


@pytest.mark.parametrize(
    ("needs", "refused"),
    [("write", {"write"}), ("maintenance", {"maintenance"})],
)
def test_feature_we_lack_refuses_its_class_of_work_by_name(needs: str, refused: set[str]) -> None:
    store = FaultyStore()
    create_store(store)
    changed(store, features={needs: ["teleport"]})
    root = refreshed(store, None)
    for work in ("read", "write", "maintenance"):
        if work in refused:
            with pytest.raises(FeatureMissing, match="teleport"):
                root.require(work)
        else:
            root.require(work)


def test_store_that_needs_more_to_be_read_does_not_open() -> None:
    store = FaultyStore()
    create_store(store)
    changed(store, features={"read": ["teleport"]})
    with pytest.raises(FeatureMissing):
        open_store(store)
    with pytest.raises(FeatureMissing):
        create_store(store)


def test_encrypted_store_does_not_open_without_that_ability() -> None:
    store = FaultyStore()
    create_store(store)
    changed(store, encryption={"any": "thing"})
    with pytest.raises(ObjectCorrupt, match="whether it is encrypted"):
        open_store(store)


def test_other_format_is_refused_before_any_other_field_is_trusted() -> None:
    with pytest.raises(FeatureMissing, match="format 2"):
        decode_root(b'{"format": 2, "store": 17}')


def test_fields_of_later_versions_survive_a_rewrite() -> None:
    store = FaultyStore()
    create_store(store)
    raw = json.loads(store.get(ROOT_KEY))
    raw["later"] = {"a": [1]}
    raw["chunker"]["later"], raw["keys"]["later"], raw["features"]["later"] = 1, "k", ["x"]
    again = json.loads(encode_root(decode_root(jsondoc.encode(raw)), "op"))
    assert again.pop("operations")[-1] == [2, "op"]
    assert again.pop("seq") == 2
    assert again.pop("sum") != raw["sum"]
    assert again == {name: value for name, value in raw.items() if name not in ("operations", "seq", "sum")}


def test_unchanged_record_is_not_read_again() -> None:
    store = FaultyStore()
    root = create_store(store).root
    assert refreshed(store, root) is root


def test_record_of_another_store_in_its_place_is_corrupt() -> None:
    store, other = FaultyStore(), FaultyStore()
    root = create_store(store).root
    create_store(other)
    store.put(ROOT_KEY, other.get(ROOT_KEY))
    with pytest.raises(ObjectCorrupt, match="it is store"):
        refreshed(store, root)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (ROOT_LIMIT + 1),
        b'{"format": NaN}',
        b'{"format": "1"}',
        b'{"format": 1, "store": "XY"}',
    ],
)
def test_damaged_record_is_object_corrupt_with_its_key(data: bytes) -> None:
    with pytest.raises(ObjectCorrupt) as caught:
        decode_root(data)
    assert caught.value.key == ROOT_KEY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keys", {"handle": "not base64!"}),
        ("keys", {"handle": "AAAA"}),
        ("keys", 3),
        ("chunker", {"min": 9, "avg": 3, "max": 27}),
        ("chunker", {"min": True}),
        ("created", -1),
        ("created", 2**64),
        ("operations", [["a", 1]]),
        ("operations", {}),
    ],
)
def test_damaged_field_is_object_corrupt(name: str, value: Any) -> None:
    store = FaultyStore()
    create_store(store)
    changed(store, **{name: value})
    with pytest.raises(ObjectCorrupt):
        open_store(store)
