"""A name in a large folder is found by reading a page or two of records, and a guide that lies is found out."""

import random
from collections.abc import Callable

import pytest

from store.cache import ByteCache
from store.errors import ObjectCorrupt
from store.layout import manifest_key
from store.manifest.build import Built
from store.manifest.layout import Section
from store.manifest.view import Manifest, open_manifest
from store.objects.measure import Measuring
from store.objects.memory import MemoryStore
from tests.support.manifests import build, forged, item_of, opened, sections_of
from tests.support.trees import Contents

NAMES = [b"image-%08d.jpeg" % (7 * number) for number in range(20_000)]
LONG = [b"p" * 70 + b"-%05d" % number for number in range(9_000)]  # alike in all that the guide holds
ABSENT = [b"a", b"image-", b"image-00000001.jpeg", b"image-00069993.jpeg.", b"zebra", b"p" * 64, b"p" * 80]


@pytest.fixture(scope="module")
def large() -> Built:
    below: Contents = {name: b"" for name in LONG}
    return build(item_of({b"flat": {name: b"" for name in NAMES}, b"long": below, b"small": {b"x": b""}}))


def unguided(built: Built) -> Manifest:
    """Open the same without its guide."""
    sections = sections_of(opened(built))
    del sections[Section.GUIDE]
    return opened(forged(sections, records=built.records, files=built.files))


@pytest.mark.parametrize("how", [opened, unguided])
def test_every_name_is_found_and_no_other(large: Built, how: Callable[[Built], Manifest]) -> None:
    manifest = how(large)
    assert (Section.GUIDE in manifest.contents.sections) == (how is opened)
    for folder_name, names in ((b"flat", NAMES), (b"long", LONG)):
        found = manifest.find(0, manifest.record(0), folder_name)
        assert found is not None
        number, folder = found
        for position in [0, 1, len(names) - 1, *random.Random(1).sample(range(len(names)), 300)]:
            at = manifest.find(number, folder, names[position])
            assert at is not None
            assert at[0] == folder.first + position
        assert [manifest.find(number, folder, name) for name in ABSENT] == [None] * len(ABSENT)
    manifest.check()


@pytest.mark.parametrize("name", [NAMES[0], NAMES[4095], NAMES[13_579], NAMES[-1], *ABSENT])
def test_a_name_takes_few_pages_of_a_large_folder(large: Built, name: bytes) -> None:
    store = MemoryStore()
    store.put(manifest_key(large.id.hex()), large.data)
    objects = Measuring(store)
    manifest = open_manifest(objects, large.id, large.root, ByteCache(1 << 24))
    assert objects.snapshot().requests == 1
    found = manifest.find(0, manifest.record(0), b"flat")
    assert found is not None
    before = objects.snapshot()
    manifest.find(*found, name)
    assert objects.snapshot().since(before).requests <= 4  # guide, a page of records, one or two of names


def test_a_small_manifest_has_no_guide() -> None:
    assert Section.GUIDE not in opened(build(item_of({b"x": b""}))).contents.sections


@pytest.mark.parametrize("change", ["another name", "a row less"])
def test_a_guide_that_lies_is_found_out(large: Built, change: str) -> None:
    sections = sections_of(opened(large))
    if change == "a row less":
        sections[Section.GUIDE] = sections[Section.GUIDE][:-64]
    else:
        guide = bytearray(sections[Section.GUIDE])
        guide[3 * 64] ^= 1
        sections[Section.GUIDE] = bytes(guide)
    with pytest.raises(ObjectCorrupt, match="GUIDE"):
        opened(forged(sections, records=large.records, files=large.files)).check()
