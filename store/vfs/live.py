"""The part of the tree that moves, as snapshots: which datasets there are, and what each one's tags name.

Snapshots are made on demand and count as fresh for `FRESH_S` seconds; a front end that asks within that time is
answered from memory. To find out what is new below `/`, one listing of the change hints is enough; everything is
listed only now and then, because hints are best effort. A dataset in use is asked for by a conditional request
(`store.catalogue.catalogue`).

A store that is away is bridged with the last snapshots for a while. Any thread; blocking calls share one request; no
lock is held across one.
"""

import logging
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content, TagState, looks_deleted
from store.catalogue.refs import parse_dataset
from store.errors import BadName, StoreError, Unavailable
from store.flight import SingleFlight
from store.layout import DATASETS, dataset_of_key
from store.objects.base import ObjectStore

FRESH_S: Final = 1.0
BRIDGED_S: Final = 3600.0  # a store that is away for less is bridged with what was known: versions never move anyhow
ASK_AGAIN_S: Final = 5.0  # while it is away
LISTED_S: Final = 600.0  # after this long everything is listed again, whatever the hints say
VIEWS: Final = 4096  # datasets whose tags are kept in memory
CHANGES: Final = "changes/"

_PREFIX: Final = re.compile("[0-9a-f]{2}")
_log = logging.getLogger(__name__)
_TOP_COOKIE = (1 << 63) - 8


def digest64(name: str) -> int:
    """Return the 64-bit digest by which a dataset or scope is known in places; never 0."""
    return int.from_bytes(blake3(name.encode()).digest(8), "big") or 1


def cookie_of(name: str) -> int:
    """Return the cookie of a dataset or scope in a listing: it belongs to the name, whatever comes and goes."""
    return digest64(name) % (_TOP_COOKIE - 1) + 1


@dataclass(frozen=True, slots=True)
class Names:
    """All datasets at one moment."""

    datasets: Mapping[str, int]  # name -> when its head was last written, ns
    by_digest: Mapping[int, str]  # datasets and scopes
    scopes: Mapping[str, int]  # "@scope" -> ns, the latest of its datasets
    top: tuple[tuple[int, str], ...]  # (cookie, name) of what stands in `/`, in order of cookies
    changed_ns: int


@dataclass(frozen=True, slots=True)
class View:
    """One dataset's tags at one moment."""

    name: str
    digest: int
    seq: int
    changed_ns: int
    tags: Mapping[str, TagState]
    by_n: Mapping[int, TagState]  # in order of creation

    def content(self, manifest: bytes) -> Content | None:
        """Return the state that begins with 16 bytes `manifest`, if a tag names it at the moment."""
        wanted = manifest.hex()
        return next((tag.content for tag in self.by_n.values() if tag.content.manifest.startswith(wanted)), None)


class LiveCatalogue:
    """Snapshots of the catalogue."""

    def __init__(
        self, objects: ObjectStore, catalogue: Catalogue, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects, self._catalogue, self._clock = objects, catalogue, clock
        self._names = Names({}, {}, {}, (), 0)
        self._names_at = -math.inf
        self._listed_at = -math.inf
        self._hints: dict[str, str] = {}
        self._groups: dict[str, dict[str, tuple[int, int]]] = {}  # prefix -> name -> (modified ns, size)
        self._views: OrderedDict[str, tuple[View, float]] = OrderedDict()
        self._away = False  # the store did not answer the last time it was asked
        self._asked_at = -math.inf
        self._asking: threading.Thread | None = None
        self._lock = threading.Lock()
        self._flights: SingleFlight[str, Names | View] = SingleFlight()

    # names

    def names_known(self) -> Names:
        """Return the last snapshot of names, however old."""
        return self._names

    def names_warm(self) -> Names | None:
        """Return the snapshot of names if it is fresh."""
        return self._names if self._clock() - self._names_at <= FRESH_S else None

    def names(self) -> Names:
        """Return a fresh snapshot of names, or the last one while the store is away."""
        found: Names | View | None = self.names_warm()
        if found is None:
            lately = self._clock() - self._names_at <= BRIDGED_S
            found = self._ask("/", self._list, self._names if lately else None)
        assert isinstance(found, Names)  # noqa: S101  # only names are asked for under this key
        return found

    def _list(self) -> Names:
        asked = self._clock()
        hints = {info.key: info.etag for info in self._objects.list(CHANGES)}
        if asked - self._listed_at > LISTED_S:
            self._groups = self._grouped(DATASETS)
            self._listed_at = asked
        else:
            for key in {key for key, etag in hints.items() if self._hints.get(key) != etag}:
                prefix = key.removeprefix(CHANGES)
                if not _PREFIX.fullmatch(prefix):  # no hint of ours
                    continue
                self._groups[prefix] = self._grouped(f"{DATASETS}{prefix}/").get(prefix, {})
        if hints != self._hints or asked == self._listed_at:
            self._names = _names(self._groups)
        self._hints = hints
        self._names_at = asked
        return self._names

    def _grouped(self, under: str) -> dict[str, dict[str, tuple[int, int]]]:
        groups: dict[str, dict[str, tuple[int, int]]] = {}
        for info in self._objects.list(under):
            name = dataset_of_key(info.key)
            if name is not None and _is_dataset(name):
                prefix = info.key.removeprefix(DATASETS).partition("/")[0]
                groups.setdefault(prefix, {})[name] = (info.modified_ns, info.size)
        return groups

    def name_of(self, digest: int) -> str | None:
        """Return the dataset or scope of a digest, looking again if it is not known."""
        return self._names.by_digest.get(digest) or self.names().by_digest.get(digest)

    # tags

    def view_warm(self, name: str) -> View | None:
        """Return a dataset's tags if they are in memory and fresh."""
        entry = self._views.get(name)
        if entry is None or self._clock() - entry[1] > FRESH_S:
            return None
        return entry[0]

    def view(self, name: str) -> View:
        """Return a dataset's tags, fresh, or as last known while the store is away.

        Raises:
            DatasetMissing: there is none of that name, or it is no name for one.
            Unavailable: the store can't be reached, and the dataset was not seen lately.
        """
        found: Names | View | None = self.view_warm(name)
        if found is None:
            known = self._views.get(name)
            lately = known is not None and self._clock() - known[1] <= BRIDGED_S
            found = self._ask(name, lambda: self._look(name), known[0] if known and lately else None)
        assert isinstance(found, View)  # noqa: S101  # only views are asked for under a name
        return found

    # a store that is away

    def _ask(self, key: str, look: Callable[[], Names | View], known: Names | View | None) -> Names | View:
        """Ask the store. While it is away, return what was known, and ask behind the caller's back now and then."""
        if self._away and known is not None:
            self._ask_behind(key, look)
            return known
        try:
            found = self._flights.do(key, look)
        except Unavailable:
            if known is None:
                raise
            self._away, self._asked_at = True, self._clock()
            return known
        self._away = False
        return found

    def _ask_behind(self, key: str, look: Callable[[], Names | View]) -> None:
        with self._lock:
            busy = self._asking is not None and self._asking.is_alive()
            if busy or self._clock() - self._asked_at <= ASK_AGAIN_S:
                return
            self._asked_at = self._clock()
            self._asking = threading.Thread(target=self._try, args=(key, look), name="catalogue", daemon=True)
            self._asking.start()

    def _try(self, key: str, look: Callable[[], Names | View]) -> None:
        try:
            self._flights.do(key, look)
        except Unavailable:
            return
        except StoreError as error:  # it answers: whoever asks next is told the rest
            _log.debug("the store is back, and says: %s", error)
        self._away = False

    def wait(self) -> None:
        """Wait until nobody is asking behind the callers' backs."""
        asking = self._asking
        if asking is not None:
            asking.join()

    def _look(self, name: str) -> View:
        asked = self._clock()
        head = self._catalogue.head(name, max_age_s=FRESH_S / 2)
        known = self._views.get(name)
        if known is not None and known[0].seq == head.seq:
            view = known[0]
        else:
            tags = self._catalogue.tags(name, max_age_s=FRESH_S)
            view = View(
                name,
                digest64(name),
                head.seq,
                head.changed_ns,
                {tag.tag: tag for tag in tags},
                {tag.n: tag for tag in tags},
            )
        with self._lock:
            self._views[name] = (view, asked)
            self._views.move_to_end(name)
            if len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return view

    def views_known(self) -> list[View]:
        """Return the snapshots of datasets that are in memory, however old."""
        with self._lock:
            return [view for view, _ in self._views.values()]

    def forget(self, name: str) -> None:
        """Drop what is remembered of a dataset that turned out to be gone."""
        with self._lock:
            self._views.pop(name, None)


def _is_dataset(name: str) -> bool:
    try:
        parse_dataset(name)
    except BadName:
        return False
    return True


def _names(groups: Mapping[str, Mapping[str, tuple[int, int]]]) -> Names:
    datasets: dict[str, int] = {}
    scopes: dict[str, int] = {}
    newest, how_many = 0, 0
    for group in groups.values():
        for name, (modified_ns, size) in group.items():
            # S3 tells times in seconds: how many heads carry the latest one makes the folder's time move all the same.
            how_many = how_many + 1 if modified_ns == newest else (1 if modified_ns > newest else how_many)
            newest = max(newest, modified_ns)
            if looks_deleted(size):
                continue
            datasets[name] = modified_ns
            if name.startswith("@"):
                scope = name.partition("/")[0]
                scopes[scope] = max(scopes.get(scope, 0), modified_ns)
    shown = [name for name in datasets if not name.startswith("@")] + list(scopes)
    by_digest = {digest64(name): name for name in (*datasets, *scopes)}
    return Names(
        datasets, by_digest, scopes, tuple(sorted((cookie_of(name), name) for name in shown)), newest + how_many
    )
