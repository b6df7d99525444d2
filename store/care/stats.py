"""How much a store holds: logical, unique and stored bytes, by dataset and tag, and what each tag alone holds.

*Logical* is what a reader sees, each state once. *Unique* counts every chunk once, plain; *stored* the same, as stored.
What a tag holds *alone* are chunks that no other state of the store has: they would go with it. Past states, which only
history names, count as one holder a dataset.

Chunks are gone through in parts, so that memory is bounded whatever the store holds; a part that turns out too large is
begun anew as two. Reads manifests alone, no block. One thread. docs/operations.md, What a store holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from store.care import digestsets
from store.catalogue.head import Content, TagState
from store.digest import Digest
from store.layout import MANIFESTS, PACKS
from store.manifest.view import Manifest
from store.repository import Repository

PAST: Final = 256  # past states of a dataset that are gone through, the newest
_SHARED: Final = -1


@dataclass(slots=True)
class Sizes:
    """Bytes of a set of states."""

    logical: int = 0
    unique: int = 0  # plain bytes of different chunks
    stored: int = 0  # of the same, as stored

    @property
    def ratio(self) -> float:
        """Return how many logical bytes one stored byte stands for; 1 where nothing is stored."""
        return self.logical / self.stored if self.stored else 1.0


@dataclass(slots=True)
class Holder:
    """One state, with the tags that name it; or the past of a dataset."""

    tags: tuple[str, ...]  # none: past states
    contents: tuple[Content, ...]  # one; of the past any number
    files: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    alone: int = 0  # plain bytes of chunks that nothing else has
    alone_stored: int = 0


@dataclass(slots=True)
class DatasetStats:
    """One dataset."""

    name: str
    holders: list[Holder]  # newest first
    past: Holder | None  # None: no past states
    past_beyond: int  # past states that were not gone through
    sizes: Sizes = field(default_factory=Sizes)


@dataclass(slots=True)
class StoreStats:
    """All that was asked for."""

    datasets: list[DatasetStats]
    sizes: Sizes = field(default_factory=Sizes)
    packs: int = 0
    packs_bytes: int = 0  # of all packs in the store, what nothing names included
    manifests_bytes: int = 0


@dataclass(slots=True)
class StatsCounters:
    """How far it is; read by whoever shows progress."""

    phase: str = "tags"
    states: int = 0  # gone through
    states_total: int = 0


def statistics(
    repository: Repository, names: Iterable[str] | None = None, counters: StatsCounters | None = None
) -> StoreStats:
    """Count what datasets hold.

    Args:
        repository: the store.
        names: datasets; `None`: all, and then what lies in packs is counted too.
        counters: updated as it goes.

    Raises:
        DatasetMissing: no such dataset.  ObjectMissing, ObjectCorrupt: a state that cannot be read.
        What the object store raises.
    """
    counters = counters or StatsCounters()
    every = names is None
    found = StoreStats([_dataset(repository, name) for name in (names or sorted(repository.catalogue.datasets()))])
    _count(repository, found, counters)
    if every:
        for info in repository.objects.list(PACKS):
            found.packs += 1
            found.packs_bytes += info.size
        found.manifests_bytes = sum(info.size for info in repository.objects.list(MANIFESTS))
    return found


def open_content(repository: Repository, content: Content) -> Manifest:
    """Open the manifest that a tag or an entry of history names."""
    return repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))


def _dataset(repository: Repository, name: str) -> DatasetStats:
    tagged: dict[Content, list[TagState]] = {}
    for tag in sorted(repository.catalogue.tags(name), key=lambda tag: tag.moved_ns, reverse=True):
        tagged.setdefault(tag.content, []).append(tag)
    holders = [Holder(tuple(tag.tag for tag in tags), (content,), content.files) for content, tags in tagged.items()]
    past: dict[Content, None] = {}
    beyond = 0
    created_ns = repository.catalogue.head(name, max_age_s=60).created_ns
    for entry in repository.catalogue.log(name):
        if entry.time_ns < created_ns:
            break
        if entry.content is not None and entry.content not in tagged and entry.content not in past:
            if len(past) < PAST:
                past[entry.content] = None
            else:
                beyond += 1
    held = Holder((), tuple(past), sum(content.files for content in past)) if past else None
    return DatasetStats(name, holders, held, beyond)


def _count(repository: Repository, found: StoreStats, counters: StatsCounters) -> None:
    counters.phase = "chunks"
    for dataset in found.datasets:
        for holder in _holders(dataset):
            for content in holder.contents:
                holder.sizes.logical += content.size
                dataset.sizes.logical += content.size
                found.sizes.logical += content.size
    states = sum(len(holder.contents) for dataset in found.datasets for holder in _holders(dataset))
    waiting = [(0, 1)]  # (part, of how many)
    while waiting:
        part, parts = waiting.pop()
        counters.states, counters.states_total = 0, states
        tally = _Tally(found)
        if tally.take(repository, part, parts, counters):
            tally.add_up()
        else:
            # A digest of part p of n is of part p or p + n of 2n.
            waiting += [(part, 2 * parts), (part + parts, 2 * parts)]


def _holders(dataset: DatasetStats) -> Iterator[Holder]:
    yield from dataset.holders
    if dataset.past is not None:
        yield dataset.past


class _Tally:
    """The counts of one part, thrown away where it is too large."""

    def __init__(self, found: StoreStats) -> None:
        self._found = found
        self._holders = [(dataset, holder) for dataset in found.datasets for holder in _holders(dataset)]
        self._owners: dict[Digest, tuple[int, int]] = {}  # the only holder, or _SHARED; stored bytes
        self._seen_by: dict[Digest, int] = {}  # the last dataset that was seen to have it
        self._adds: list[tuple[Sizes, Sizes]] = []
        self._alone = [[0, 0] for _ in self._holders]  # plain and stored bytes

    def take(self, repository: Repository, part: int, parts: int, counters: StatsCounters) -> bool:
        """Go through all states; false where there are too many chunks to hold."""
        whole = Sizes()
        numbers = {id(dataset): number for number, dataset in enumerate(self._found.datasets)}
        of_dataset: dict[int, Sizes] = {number: Sizes() for number in numbers.values()}
        alone = self._alone
        for index, (dataset, holder) in enumerate(self._holders):
            number = numbers[id(dataset)]
            own = Sizes()
            seen: set[Digest] = set()  # of this holder, needed where it has several states
            for content in holder.contents:
                manifest = open_content(repository, content)
                for _, block in digestsets.blocks_of(manifest, part, parts):
                    digest, plain, stored = block.digest, block.plain, block.stored
                    if len(holder.contents) > 1:
                        if digest in seen:
                            continue
                        seen.add(digest)
                    own.unique, own.stored = own.unique + plain, own.stored + stored
                    known = self._owners.get(digest)
                    if known is None:
                        self._owners[digest] = (index, stored)
                        alone[index][0] += plain
                        alone[index][1] += stored
                        whole.unique, whole.stored = whole.unique + plain, whole.stored + stored
                    elif known[0] != _SHARED:
                        self._owners[digest] = (_SHARED, 0)
                        alone[known[0]][0] -= plain
                        alone[known[0]][1] -= known[1]
                    if self._seen_by.get(digest) != number:
                        self._seen_by[digest] = number
                        of_dataset[number].unique += plain
                        of_dataset[number].stored += stored
                    if len(self._owners) > digestsets.PART:
                        return False
                counters.states += 1
            self._adds.append((holder.sizes, own))
        self._adds.append((self._found.sizes, whole))
        self._adds += [(dataset.sizes, of_dataset[numbers[id(dataset)]]) for dataset in self._found.datasets]
        return True

    def add_up(self) -> None:
        """Add what this part holds to the counts."""
        for sizes, more in self._adds:
            sizes.unique += more.unique
            sizes.stored += more.stored
        for (_, holder), (plain, stored) in zip(self._holders, self._alone, strict=True):
            holder.alone += plain
            holder.alone_stored += stored
