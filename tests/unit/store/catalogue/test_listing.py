"""Which datasets there are: few requests, no head read, and nothing that is damaged left out."""

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from store.catalogue.head import Head, encode_head
from store.catalogue.listing import AT_ONCE, FEW, PREFIXES, in_order, listed
from store.layout import dataset_key, name_prefix
from store.objects.base import ObjectInfo
from store.objects.memory import MemoryStore
from tests.unit.store.faults import FaultyStore
from tests.unit.store.states import content, new_catalogue


class Listings(MemoryStore):
    """Counts what is listed, and what of it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Counter[str] = Counter()
        self.taken = 0

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.listed[prefix] += 1
        for info in super().list(prefix, after=after):
            self.taken += 1
            yield info


@pytest.fixture
def many() -> Listings:
    """Return a store of more datasets than one page of a listing holds."""
    objects = Listings()
    for number in range(3 * FEW):
        name = f"@group{number % 3}/set-{number}" if number % 10 == 0 else f"set-{number}"
        objects.put(dataset_key(name), encode_head(Head(name, deleted=number == 5)))
    return objects


def test_a_small_store_is_listed_by_one_request() -> None:
    objects = Listings()
    for number in range(FEW):
        objects.put(dataset_key(f"set-{number}"), encode_head(Head(f"set-{number}")))
    assert len(list(listed(objects))) == FEW
    assert objects.listed == {"datasets/": 1}


def test_a_large_store_is_listed_whole_prefix_by_prefix(many: Listings) -> None:
    found = list(listed(many))
    assert len({head.name for head in found}) == len(found) == 3 * FEW
    assert [head.name for head in found if head.deleted] == ["set-5"]
    assert many.listed == {"datasets/": 1, **{f"datasets/{prefix}/": 1 for prefix in PREFIXES}}


def test_the_first_datasets_are_told_before_the_last_are_asked_for(many: Listings) -> None:
    listing = listed(many)
    first = list(itertools.islice(listing, 3))
    assert len(first) == 3
    assert sum(many.listed.values()) <= 2 + AT_ONCE
    assert many.taken < 2 * FEW
    listing.close()  # type: ignore[attr-defined]  # a generator


@pytest.mark.parametrize("damaged", [b"", b"x" * 777, b"{}"])
def test_a_dataset_whose_head_is_damaged_is_listed(damaged: bytes) -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store)
    catalogue.set_tags("geo", ["1.0.0"], content(1))
    store.put(dataset_key("geo"), damaged)
    assert list(catalogue.datasets()) == ["geo"]


def test_a_dataset_whose_head_was_cut_short_anywhere_is_mostly_listed() -> None:
    store = FaultyStore()
    catalogue = new_catalogue(store)
    catalogue.set_tags("geo", ["1.0.0"], content(1))
    whole = store.get(dataset_key("geo"))
    hidden = 0
    for size in range(len(whole)):
        store.put(dataset_key("geo"), whole[:size])
        hidden += list(catalogue.datasets()) != ["geo"]
    assert hidden <= 1 + len(whole) // 256


def test_in_order_is_the_order_of_keys_from_behind_any_dataset_on(many: Listings) -> None:
    whole = [head.name for head in in_order(many)]
    assert whole == sorted((head.name for head in listed(many)), key=dataset_key)
    for after in (*whole[::500], whole[-1], "absent"):
        assert [head.name for head in in_order(many, after=after)] == [
            name for name in whole if dataset_key(name) > dataset_key(after)
        ]


def test_a_page_asks_for_a_few_prefixes_from_its_own_on(many: Listings) -> None:
    whole = [head.name for head in in_order(many)]
    many.listed.clear()
    page = list(itertools.islice(in_order(many, after=whole[2000]), 10))
    assert [head.name for head in page] == whole[2001:2011]
    asked = sorted(prefix.removeprefix("datasets/").strip("/") for prefix in many.listed)
    assert len(asked) <= 3 * AT_ONCE
    assert asked[0] == ""
    assert asked[1] == name_prefix(whole[2000])
