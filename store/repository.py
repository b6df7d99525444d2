"""One opened store, as push, pull, the commands and the tree use it: its record, its catalogue, its manifests.

Any thread.
"""

from store.cache import ByteCache
from store.catalogue.catalogue import Catalogue, Seen
from store.manifest.pages import PassingCache
from store.manifest.view import Manifest, PageCache, open_manifest
from store.objects.base import ObjectStore
from store.objects.measure import Measuring
from store.root import StoreRoot, open_store
from store.veil import Veil

PAGES: int = 64 << 20  # bytes of decoded manifest pages kept in memory
MANIFESTS: int = 8 << 20  # bytes of tables of opened manifests


class Repository:
    """A store, opened. `objects` counts what goes through it."""

    def __init__(
        self, objects: ObjectStore, root: StoreRoot, *, pages: int = PAGES, veil: Veil | None = None,
        seen: Seen = lambda name, seq: None,
    ) -> None:  # fmt: skip
        """Take an opened store.

        Args:
            objects: the store, in plain.
            root: its record.
            pages: bytes of decoded manifest pages to keep in memory.
            veil: seals what pushes and pulls keep in local files; by default, by a key of an encrypted store.
            seen: told the generation of each head that is read; raises `Replayed` where a later one was seen.
        """
        self.objects = Measuring(objects)
        self.root = root
        self.veil = veil if veil is not None or root.keys is None else Veil(root.keys.derived("local"))
        self.catalogue = Catalogue(self.objects, root, seen=seen)
        self._pages: PageCache = ByteCache(pages)
        self._passing = PassingCache(self._pages)
        self._manifests: ByteCache[tuple[bytes, bytes], Manifest] = ByteCache(MANIFESTS)

    @classmethod
    def open(cls, objects: ObjectStore, *, pages: int = PAGES) -> "Repository":
        """Open the store that lies in `objects`.

        Args:
            objects: where.
            pages: bytes of decoded manifest pages to keep in memory.

        Raises:
            StoreMissing, FeatureMissing, ObjectCorrupt, and what the object store raises.
        """
        return cls(objects, open_store(objects), pages=pages)

    def manifest(self, id: bytes, root: bytes) -> Manifest:
        """Open a manifest by its id and the digest of its table (32 bytes each), or return it from memory."""
        found = self.manifest_warm(id, root)
        if found is None:
            found = open_manifest(self.objects, id, root, self._pages, self._passing)
            self._manifests.put((id, root), found, found.cost)
        return found

    def manifest_warm(self, id: bytes, root: bytes) -> Manifest | None:
        """Return a manifest that is in memory, or `None`."""
        return self._manifests.get((id, root))

    def read_manifest(self, id: bytes) -> Manifest:
        """Open a manifest of which only the id is known."""
        return open_manifest(self.objects, id, None, self._pages)
