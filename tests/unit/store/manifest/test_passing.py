"""Who goes through a large folder in passing sees what others see, and leaves their pages in memory alone."""

import pytest

from store.cache import ByteCache
from store.layout import manifest_key
from store.manifest.build import Built
from store.manifest.pages import GROUP_PAGES, PASSING_PAGES, PageCache, PassingCache
from store.manifest.view import Manifest, Record, open_manifest
from store.objects.measure import Measuring
from store.objects.memory import MemoryStore
from tests.support.manifests import build, item_of

COUNT = 60_000
PAGE = 128 << 10
LIMIT = 16 * PAGE


@pytest.fixture(scope="module")
def large() -> Built:
    return build(item_of({b"d": {b"image-%08d.jpeg" % number: b"" for number in range(COUNT)}}))


class Opened:
    """The manifest with both caches, and the requests that its pages take."""

    def __init__(self, large: Built, limit: int = LIMIT) -> None:
        store = MemoryStore()
        store.put(manifest_key(large.id.hex()), large.data)
        self.objects = Measuring(store)
        self.shared: PageCache = ByteCache(1 << 26)
        self.passing = PassingCache(self.shared, limit)
        self.manifest = open_manifest(self.objects, large.id, large.root, self.shared, self.passing)
        self.number, self.folder = self._found()

    def _found(self) -> tuple[int, Record]:
        found = self.manifest.passing.find(0, self.manifest.passing.record(0), b"d")
        assert found is not None
        return found

    def listed(self, manifest: Manifest) -> list[object]:
        entries: list[object] = []
        for start in range(0, COUNT, 256):
            some = list(manifest.entries(self.number, self.folder, start, start + 256))
            entries.append((some, list(manifest.digests([number for number, _, _ in some]))))
        return entries


def test_what_is_met_in_passing_is_the_same_and_is_not_kept_for_others(large: Built) -> None:
    met = Opened(large)
    listed = met.listed(met.manifest.passing)
    assert met.shared.used == 0
    assert 0 < met.passing.used <= LIMIT
    assert listed == met.listed(met.manifest)
    assert met.shared.used > 2 * LIMIT


def test_what_is_in_memory_is_taken_from_there(large: Built) -> None:
    met = Opened(large)
    met.listed(met.manifest)
    before = met.objects.snapshot()
    met.listed(met.manifest.passing)
    assert met.objects.snapshot().since(before).requests == 0


def test_pages_are_fetched_together_but_never_more_than_so_many(large: Built) -> None:
    for which, most in (("passing", PASSING_PAGES), ("others", GROUP_PAGES)):
        met = Opened(large, 1 << 26)
        pages = len(met.manifest.contents.pages)
        before = met.objects.snapshot()
        met.listed(met.manifest.passing if which == "passing" else met.manifest)
        asked = met.objects.snapshot().since(before).requests
        assert pages / most / 2 <= asked <= 2 + 2 * pages / most
