"""The part of the tree that moves, as snapshots: which datasets there are, and what each one's tags name.

Snapshots are made on demand and count as fresh for `FRESH_S` seconds; a front end that asks within that time is
answered from memory. To find out what is new below `/`, one listing of the change hints is enough; the datasets are
listed when somebody wants to see them all, and then again now and then, because hints are best effort. A dataset in use
is asked for by a conditional request (`store.catalogue.catalogue`). Nobody asks: nothing is requested.

A store that is away is bridged with the last snapshots for a while. Any thread; blocking calls share one request; no
lock is held across one.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content, TagState
from store.catalogue.listing import AT_ONCE, FEW, PREFIXES, Listed, below, listed
from store.errors import AmbiguousNode, StoreError, Unavailable
from store.flight import SingleFlight
from store.objects.base import ObjectStore
from store.vfs.names import Group, Names, Newest, digest64, prefix_of

FRESH_S: Final = 1.0
BRIDGED_S: Final = 3600.0  # a store that is away for less is bridged with what was known: versions never move anyhow
ASK_AGAIN_S: Final = 5.0  # while it is away
LISTED_S: Final = 600.0  # after this long everything is listed again, whatever the hints say
VIEWS_SIZE: Final = 64 << 20  # bytes of tags that are kept in memory, about
CHANGES: Final = "changes/"

_log = logging.getLogger(__name__)


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
        """Return the state that begins with 16 bytes `manifest`, if a tag names it at the moment.

        Raises:
            AmbiguousNode: several do.
        """
        wanted = manifest.hex()
        contents = [tag.content for tag in self.by_n.values() if tag.content.manifest.startswith(wanted)]
        if len({content.manifest for content in contents}) > 1:
            raise AmbiguousNode(self.name, wanted)
        return contents[0] if contents else None

    @property
    def cost(self) -> int:
        """Bytes that it takes in memory, about."""
        return 1000 + 1000 * len(self.by_n)


class LiveCatalogue:
    """Snapshots of the catalogue."""

    def __init__(
        self, objects: ObjectStore, catalogue: Catalogue, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects, self._catalogue, self._clock = objects, catalogue, clock
        self._names = Names({})
        self._names_at = -math.inf
        self._groups: dict[str, Group] = {}
        self._grouped_at: dict[str, float] = {}  # prefix -> when it was listed last; all of them, or none
        self._hints: dict[str, str] = {}
        self._outline = Names({})  # until names are listed
        self._outline_at = -math.inf
        self._glimpses: dict[str, Group] = {}  # prefixes in which single datasets were looked for
        self._views: OrderedDict[str, tuple[View, float]] = OrderedDict()
        self._views_size = 0
        self._viewed: dict[int, str] = {}  # by digest: the datasets in `_views`
        self._away = False  # the store did not answer the last time it was asked
        self._asked_at = -math.inf
        self._asking: threading.Thread | None = None
        self._lock = threading.Lock()
        self._flights: SingleFlight[str, Names | View] = SingleFlight()
        self._looks: SingleFlight[str, Group] = SingleFlight()

    # names

    def names_warm(self) -> Names | None:
        """Return the snapshot of names if it is fresh."""
        return self._names if self._clock() - self._names_at <= FRESH_S else None

    def names_known(self) -> Names:
        """Return the last snapshot of names, however old."""
        return self._names

    def names(self) -> Names:
        """Return a fresh snapshot of names, or the last one while the store is away."""
        return self._snapshot("/", self.names_warm(), self._list, self._names, self._names_at)

    def outline_known(self) -> Names:
        """Return the last outline, however old."""
        return self._names if self._grouped_at else self._outline

    def outline_warm(self) -> Names | None:
        """Return the outline if it is fresh."""
        if self._grouped_at:
            return self.names_warm()
        return self._outline if self._clock() - self._outline_at <= FRESH_S else None

    def outline(self) -> Names:
        """Return what `/` itself shows, which is no reason to list all datasets: as `names`, but as yet without any."""
        if self._grouped_at:
            return self.names()
        return self._snapshot(CHANGES, self.outline_warm(), self._peek, self._outline, self._outline_at)

    def _snapshot(self, key: str, warm: Names | None, look: Callable[[], Names], known: Names, at_s: float) -> Names:
        if warm is not None:
            return warm
        lately = self._clock() - at_s <= BRIDGED_S
        found = self._ask(key, look, known if lately else None)
        assert isinstance(found, Names)  # noqa: S101  # only names are asked for under these keys
        return found

    def _hinted(self) -> tuple[dict[str, str], Newest]:
        hints: dict[str, str] = {}
        newest = Newest()
        for info in self._objects.list(CHANGES):
            hints[info.key.removeprefix(CHANGES)] = info.etag
            newest = newest.with_(info.modified_ns)
        return hints, newest

    def _peek(self) -> Names:
        asked = self._clock()
        _, newest = self._hinted()
        self._outline, self._outline_at = Names({}, newest), asked
        return self._outline

    def _list(self) -> Names:
        asked = self._clock()
        hints, newest = self._hinted()
        old = sorted((at, prefix) for prefix, at in self._grouped_at.items() if asked - at > LISTED_S)
        if not self._grouped_at or (old and self._names.count <= FEW):
            heads: dict[str, list[Listed]] = {}
            for head in listed(self._objects):
                heads.setdefault(prefix_of(digest64(head.name)), []).append(head)
            self._groups = {prefix: Group(found) for prefix, found in heads.items()}
            self._grouped_at = dict.fromkeys(PREFIXES, asked)
            self._glimpses = {}
            self._names = Names(self._groups, newest)
        elif old or hints != self._hints:
            # A few of the old ones at a time, so that nobody has to wait for a listing of everything.
            again = {prefix for prefix in PREFIXES if hints.get(prefix) != self._hints.get(prefix)}
            again |= {prefix for _, prefix in old[:AT_ONCE]}
            for prefix, found in below(self._objects, sorted(again)):
                self._groups[prefix] = Group(found)
                self._grouped_at[prefix] = asked
            self._names = Names(dict(self._groups), newest)
        self._hints = hints
        self._names_at = asked
        return self._names

    def name_known(self, digest: int) -> str | None:
        """Return the dataset or scope of a digest from memory, however old."""
        return self._viewed.get(digest) or self._names.name_of(digest)

    def name_of(self, digest: int) -> str | None:
        """Return the dataset or scope of a digest, looking for it if it is not known: below its own prefix at first."""
        found = self.name_known(digest)
        if found is None and not self._grouped_at:
            prefix = prefix_of(digest)
            group = self._glimpses.get(prefix)
            if group is None or digest not in group.by_digest:
                group = self._glimpses[prefix] = self._looks.do(prefix, lambda: self._glimpse(prefix))
            found = group.by_digest.get(digest)
        return found or self.names().name_of(digest)

    def _glimpse(self, prefix: str) -> Group:
        [(_, found)] = below(self._objects, [prefix])
        return Group(found)

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
            self._drop(name)
            self._views[name] = (view, asked)
            self._viewed[view.digest] = name
            self._views_size += view.cost
            while self._views_size > VIEWS_SIZE and len(self._views) > 1:
                self._drop(next(iter(self._views)))
        return view

    def _drop(self, name: str) -> None:
        dropped = self._views.pop(name, None)
        if dropped is not None:
            self._viewed.pop(dropped[0].digest, None)
            self._views_size -= dropped[0].cost

    def views_known(self) -> list[View]:
        """Return the snapshots of datasets that are in memory, however old."""
        with self._lock:
            return [view for view, _ in self._views.values()]

    def forget(self, name: str) -> None:
        """Drop what is remembered of a dataset that turned out to be gone."""
        with self._lock:
            self._drop(name)
