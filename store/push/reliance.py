"""Makes sure that what a commit relies on is there and stays: the last thing that is done before a head is written.

A commit relies on its state's manifest and on the packs that it names. Each of them has to be

- named by a tag of the very head that is being replaced (then it lives as long as that head does), or
- written, or seen to be there, after this commit's heartbeat began (then no deletion that begins later removes it
  before the commit is done, and none that ended before did),

and `gc/state`, read after that, must not have it among what is being deleted. What is only marked is taken out of the
marks. Why no interleaving with a deletion loses anything: docs/format.md, Deletion.

One thread; a few requests side by side.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from store.catalogue.head import Content, Head, TagState
from store.digest import PACK_ID_SIZE, PackId
from store.errors import ObjectMissing, StaleNode
from store.gc_state import Doomed, keep
from store.layout import pack_key
from store.manifest.layout import Section
from store.manifest.view import Manifest
from store.objects.base import ObjectStore
from store.push.lease import Lease
from store.repository import Repository

_PARALLEL: Final = 8
_ALONE: Final = 4  # so few are asked for one after another, without threads


class Reliance:
    """What one commit, with all its attempts, relies on."""

    def __init__(self, objects: ObjectStore, lease: Lease) -> None:
        self._objects, self._lease = objects, lease
        self._there: set[str] = set()  # keys written, or seen, after the heartbeat began
        self._packs_of: dict[tuple[str, str], frozenset[PackId]] = {}  # of states that were read, by (id, root)

    def wrote(self, key: str) -> None:
        """Note an object that was written after the heartbeat began."""
        self._there.add(key)

    def read(self, manifest: Manifest) -> frozenset[PackId]:
        """Note the packs of a state of the dataset: they stay as long as a tag of the head names it. Return them."""
        return self._packs_of.setdefault((manifest.id.hex(), manifest.root.hex()), packs_of(manifest))

    def check(self, head: Head, content: Content, key: str, packs: Collection[PackId]) -> Doomed:
        """Make sure of everything; return what can't be relied on.

        Args:
            head: the generation that is about to be replaced.
            content: the state that tags are to name.
            key: of its manifest.
            packs: those that the manifest names.

        Raises:
            PushLost: a deletion has given this push up.
            ObjectCorrupt, FeatureMissing, Contended, OutcomeUnknown: see `gc_state.keep`.
        """
        gone, going = self.lost(head, content, key, packs)
        return Doomed(gone.packs | going.packs, gone.manifests | going.manifests)

    def lost(self, head: Head, content: Content, key: str, packs: Collection[PackId]) -> tuple[Doomed, Doomed]:
        """Return what is not there, and what a deletion is removing. Arguments and errors are those of `check`."""
        if named(head, content):
            return Doomed(), Doomed()
        self._lease.begin()
        self._lease.confirm()
        living = frozenset[PackId]().union(
            *(self._packs_of.get((state.manifest, state.root), ()) for state in _tagged(head))
        )
        name = key.rpartition("/")[2]
        no_manifest = self._absent([key])
        absent = self._absent([pack_key(pack.hex()) for pack in packs if pack not in living])
        gone = Doomed(
            frozenset(pack for pack in packs if pack_key(pack.hex()) in absent),
            frozenset({name}) if no_manifest else frozenset(),
        )
        return gone, keep(self._objects, packs, [name])

    def _absent(self, keys: Collection[str]) -> frozenset[str]:
        """Look at the objects that are not known to be there; return those that are not."""
        unknown = [key for key in keys if key not in self._there]
        if len(unknown) <= _ALONE:
            found = [*map(self._is_there, unknown)]
        else:
            with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="look") as pool:
                found = [*pool.map(self._is_there, unknown)]
        self._there.update(key for key, there in zip(unknown, found, strict=True) if there)
        return frozenset(key for key, there in zip(unknown, found, strict=True) if not there)

    def _is_there(self, key: str) -> bool:
        try:
            self._objects.head(key)
        except ObjectMissing:
            return False
        return True


@contextlib.contextmanager
def standing(repository: Repository, dataset: str) -> Iterator[Callable[[Head, Content], None]]:
    """Yield the guard for a commit that names a state which is in the store already, as tagging and rolling back do.

    Raises (from the guard):
        StaleNode: a deletion is removing the state.
        ObjectMissing: a part of it is not there, though no deletion took it.
        PushLost, and what else reading the state raises.
    """
    lease = Lease(repository.objects, dataset)
    reliance = Reliance(repository.objects, lease)

    def guard(head: Head, content: Content) -> None:
        if named(head, content):
            return
        manifest = repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
        gone, going = reliance.lost(head, content, manifest.key, packs_of(manifest))
        if going or gone.manifests:  # the manifest was read just now: if it is not there, it was removed meanwhile
            raise StaleNode(f"state b3-{content.manifest[:12]} is being removed")
        if gone.packs:
            raise ObjectMissing(pack_key(min(gone.packs).hex()), repository.objects.address)

    try:
        yield guard
    finally:
        lease.end()


def named(head: Head, content: Content) -> bool:
    """Tell whether a tag that stands in the head itself names this very state, at the same place."""
    return any((state.manifest, state.root) == (content.manifest, content.root) for state in _tagged(head))


def _tagged(head: Head) -> list[Content]:
    return [record.content for record in head.tags.values() if isinstance(record, TagState)]


def packs_of(manifest: Manifest) -> frozenset[PackId]:
    """Return the packs that a manifest names."""
    return frozenset(
        PackId(bytes(page[at : at + PACK_ID_SIZE]))
        for page in manifest.pages(Section.PACKS)
        for at in range(0, len(page), PACK_ID_SIZE)
    )
