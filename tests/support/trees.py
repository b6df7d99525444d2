"""A whole tree in memory, for tests of front ends: datasets, scopes, tags, channels that move, following roots.

`MemoryTree` implements `store.vfs.tree.FileTree` over nested mappings and passes `tests.conformance.tree_cases`.
Beyond the seam it lets a test publish and remove (`publish`, `untag`, `remove`), go cold (`cold`), make blocking calls
wait or fail (`on_blocking`), and see which blocking calls took place (`blocking_calls`).

Threads: any thread may read; changes replace whole values, so that a reader sees the tree before or after one.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from store.errors import IsAFolder, NotAFolder, NotALink, PathMissing, StaleNode
from store.vfs.tree import NO_VERIFIER, Entry, FileDigests, FileTree, Kind, Listing, Node, Place, Space, Usage

EPOCH_NS = 1_700_000_000_000_000_000
NO_MANIFEST = bytes(16)


class File(NamedTuple):
    """A file of a state being published; plain `bytes` stand for one with the usual attributes."""

    data: bytes
    executable: bool = False
    mtime_ns: int = EPOCH_NS


class Link(NamedTuple):
    """A symbolic link of a state being published."""

    target: bytes


Contents = Mapping[bytes, "bytes | File | Link | Contents"]


class _Record(NamedTuple):
    kind: Kind
    parent: int
    name: bytes
    data: bytes
    executable: bool
    mtime_ns: int
    first: int  # of a folder: its children are records first .. first + length - 1
    length: int


class _State:
    """One immutable state: records of a folder's children lie together, sorted by name."""

    def __init__(self, contents: Contents) -> None:
        rows: list[_Record] = [_Record(Kind.FOLDER, 0, b"", b"", False, EPOCH_NS, 0, 0)]
        queue: list[tuple[int, Contents]] = [(0, contents)]
        for number, folder in queue:
            first = len(rows)
            for name in sorted(folder):
                rows.append(_record(number, name, folder[name]))
                if isinstance(value := folder[name], Mapping):
                    queue.append((len(rows) - 1, value))
            rows[number] = rows[number]._replace(first=first, length=len(folder))
        self.records = tuple(rows)
        self.id = blake3(repr(self.records).encode()).digest()
        self.names = {(r.parent, r.name): i for i, r in enumerate(rows) if i}


def _record(parent: int, name: bytes, value: "bytes | File | Link | Contents") -> _Record:
    if isinstance(value, Link):
        return _Record(Kind.LINK, parent, name, value.target, False, EPOCH_NS, 0, 0)
    if isinstance(value, File):
        return _Record(Kind.FILE, parent, name, value.data, value.executable, value.mtime_ns, 0, 0)
    if isinstance(value, bytes):
        return _Record(Kind.FILE, parent, name, value, False, EPOCH_NS, 0, 0)
    return _Record(Kind.FOLDER, parent, name, b"", False, EPOCH_NS, 0, 0)


@dataclass(frozen=True)
class _Tag:
    number: int
    manifest: bytes
    channel: bool
    changed_ns: int


@dataclass(frozen=True)
class _Dataset:
    name: bytes  # b"geo" or b"@scope/geo"
    tags: Mapping[bytes, _Tag]
    states: tuple[bytes, ...]  # ids of every state it has or had
    created: int  # tags created so far
    changed_ns: int


def digest64(text: bytes) -> int:
    """Return a digest of 64 bits, never 0."""
    return int.from_bytes(blake3(text).digest(8), "big") or 1


def is_version(tag: bytes) -> bool:
    """Tell versions from channels, well enough for tests."""
    return re.fullmatch(rb"v?\d+\.\d+\.\d+|\d{4}-\d\d-\d\d", tag) is not None


class MemoryTree:
    """A `FileTree` whose catalogue a test changes at will."""

    def __init__(self, *, fsid: int = 0x1122334455667788, chunk_size: int = 65536) -> None:
        """Start empty. Reads are cut into views of at most `chunk_size` bytes, as a real tree's are."""
        self._fsid, self._chunk_size = fsid, chunk_size
        self._datasets: dict[bytes, _Dataset] = {}
        self._states: dict[bytes, _State] = {}
        self._now_ns = EPOCH_NS
        self._root_changed_ns = EPOCH_NS
        self.cold = False
        self.on_blocking: Callable[[str], None] = lambda _operation: None
        self.blocking_calls: Counter[str] = Counter()

    # What tests do to it

    def publish(self, dataset: str, tag: str, contents: Contents) -> bytes:
        """Name a state by a tag, new or moved; return the whole manifest id (32 bytes)."""
        state = _State(contents)
        self._states[state.id[:16]] = state
        name, label, now = dataset.encode(), tag.encode(), self._tick()
        if name not in self._datasets:
            self._datasets = {**self._datasets, name: _Dataset(name, {}, (), 0, now)}
            self._root_changed_ns = now
        old = self._datasets[name]
        number = old.tags[label].number if label in old.tags else old.created + 1
        new = _Dataset(
            name,
            {**old.tags, label: _Tag(number, state.id, not is_version(label), now)},
            (*old.states, state.id),
            max(old.created, number),
            now,
        )
        self._datasets = {**self._datasets, name: new}
        return state.id

    def untag(self, dataset: str, tag: str) -> None:
        """Take a tag away; the state stays reachable by its id and by places handed out."""
        old = self._datasets[dataset.encode()]
        tags = {k: v for k, v in old.tags.items() if k != tag.encode()}
        new = _Dataset(old.name, tags, old.states, old.created, self._tick())
        self._datasets = {**self._datasets, old.name: new}

    def remove(self, dataset: str) -> None:
        """Take a dataset away: nodes in it are stale from now on."""
        self._datasets = {k: v for k, v in self._datasets.items() if k != dataset.encode()}
        self._root_changed_ns = self._tick()

    def _tick(self) -> int:
        self._now_ns += 1_000_000_001
        return self._now_ns

    def _blocking(self, operation: str) -> None:
        self.blocking_calls[operation] += 1
        self.on_blocking(operation)

    # The seam

    @property
    def fsid(self) -> int:
        return self._fsid

    def root(self) -> Node:
        return self._catalogue_node(Space.ROOT, 0, len(self._names_of_root()), self._root_changed_ns)

    def node(self, place: Place) -> Node:
        self._blocking("node")
        return self._node(place)

    def node_warm(self, place: Place) -> Node | None:
        return None if self.cold else self._node(place)

    def lookup(self, folder: Node, name: bytes) -> Node:
        self._blocking("lookup")
        return self._lookup(folder, name)

    def lookup_warm(self, folder: Node, name: bytes) -> Node | None:
        return None if self.cold else self._lookup(folder, name)

    def parent(self, node: Node) -> Node:
        self._blocking("parent")
        return self._parent(node)

    def parent_warm(self, node: Node) -> Node | None:
        return None if self.cold else self._parent(node)

    def _parent(self, node: Node) -> Node:
        place = node.place
        if place.space is Space.STATE and place.record:
            state = self._state(place)
            return self._state_node(place, state.records[place.record].parent)
        if place.space in (Space.STATE, Space.FOLLOWING):
            return self._dataset_node(self._dataset(place.dataset))
        if place.space is Space.DATASET:
            scope, slash, _ = self._dataset(place.dataset).name.partition(b"/")
            return self._scope_node(scope) if slash else self.root()
        return self.root()

    def following(self, node: Node) -> Node:
        place = node.place
        if place.space is not Space.STATE or place.record or not place.tag:
            return node
        dataset = self._dataset(place.dataset)
        for tag in dataset.tags.values():
            if tag.number == place.tag and tag.channel:
                return self._node(Place(Space.FOLLOWING, place.dataset, place.tag, NO_MANIFEST, 0))
        return node

    def following_warm(self, node: Node) -> Node | None:
        return None if self.cold else self.following(node)

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        self._blocking("children")
        return self._children(folder, after, limit, verifier)

    def children_warm(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER
    ) -> Listing | None:
        return None if self.cold else self._children(folder, after, limit, verifier)

    def readlink(self, link: Node) -> bytes:
        self._blocking("readlink")
        return self._readlink(link)

    def readlink_warm(self, link: Node) -> bytes | None:
        return None if self.cold else self._readlink(link)

    def _readlink(self, link: Node) -> bytes:
        if link.kind is not Kind.LINK:
            raise NotALink(b"?")
        return self._record_of(link.place).data

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        self._blocking("read")
        return self._read(file, offset, size)

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        return None if self.cold else self._read(file, offset, size)

    def digests(self, file: Node) -> FileDigests:
        if file.kind is not Kind.FILE:
            raise IsAFolder(b"?")
        data = self._record_of(file.place).data
        return FileDigests(sha256(data).digest(), md5(data, usedforsecurity=False).digest())

    def digests_warm(self, file: Node) -> FileDigests | None:
        return None if self.cold else self.digests(file)

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        return [self.digests(file) for file in files]

    def usage(self, node: Node) -> Usage:
        if node.place.space is Space.STATE:
            states = [self._state(node.place)]
        elif node.place.space is Space.FOLLOWING:
            states = [self._current(node.place)]
        else:
            states = list(self._states.values())
        files = [r for s in states for r in s.records if r.kind is Kind.FILE]
        return Usage(sum(len(r.data) for r in files), len(files))

    def open_to_all(self, node: Node) -> bool:
        return True

    # Places and nodes

    def _node(self, place: Place) -> Node:
        if place.space is Space.ROOT:
            return self.root()
        if place.space is Space.SCOPE:
            for scope in {n.partition(b"/")[0] for n in self._datasets if b"/" in n}:
                if digest64(scope) == place.dataset:
                    return self._scope_node(scope)
            raise StaleNode("a scope without datasets")
        if place.space is Space.DATASET:
            return self._dataset_node(self._dataset(place.dataset))
        if place.space is Space.FOLLOWING:
            tag = self._tag(place)
            return self._catalogue_node(
                Space.FOLLOWING, place.dataset, self._current(place).records[0].length, tag.changed_ns, place.tag
            )
        return self._state_node(place, place.record)

    def _catalogue_node(self, space: Space, dataset: int, size: int, changed_ns: int, tag: int = 0) -> Node:
        place = Place(space, dataset, tag, NO_MANIFEST, 0)
        return Node(Kind.FOLDER, place, _fileid(place), size, changed_ns, changed_ns, False, True)

    def _scope_node(self, scope: bytes) -> Node:
        inside = [d for d in self._datasets.values() if d.name.startswith(scope + b"/")]
        changed_ns = max((d.changed_ns for d in inside), default=self._root_changed_ns)
        return self._catalogue_node(Space.SCOPE, digest64(scope), len(inside), changed_ns)

    def _dataset_node(self, dataset: _Dataset) -> Node:
        return self._catalogue_node(Space.DATASET, digest64(dataset.name), len(dataset.tags), dataset.changed_ns)

    def _state_node(self, near: Place, number: int) -> Node:
        state = self._state(near)
        if number >= len(state.records):
            raise StaleNode(f"record {number}")
        record = state.records[number]
        place = Place(Space.STATE, near.dataset, near.tag, state.id[:16], number)
        size = record.length if record.kind is Kind.FOLDER else len(record.data)
        ns = record.mtime_ns
        return Node(record.kind, place, _fileid(place), size, ns, ns, record.executable, False)

    def _dataset(self, digest: int) -> _Dataset:
        for dataset in self._datasets.values():
            if digest64(dataset.name) == digest:
                return dataset
        raise StaleNode("a removed dataset")

    def _tag(self, place: Place) -> _Tag:
        for tag in self._dataset(place.dataset).tags.values():
            if tag.number == place.tag:
                return tag
        raise StaleNode("a removed tag")

    def _state(self, place: Place) -> _State:
        for manifest in self._dataset(place.dataset).states:
            if manifest[:16] == place.manifest:
                return self._states[place.manifest]
        raise StaleNode("a state that its dataset never had")

    def _current(self, place: Place) -> _State:
        return self._states[self._tag(place).manifest[:16]]

    def _record_of(self, place: Place) -> _Record:
        return self._state(place).records[place.record]

    # Names

    def _lookup(self, folder: Node, name: bytes) -> Node:
        if folder.kind is not Kind.FOLDER:
            raise NotAFolder(name)
        place = folder.place
        if place.space is Space.ROOT:
            return self._lookup_top(name)
        if place.space is Space.SCOPE:
            return self._lookup_in_scope(place, name)
        if place.space is Space.DATASET:
            return self._lookup_tag(place, name)
        state = self._state(place) if place.space is Space.STATE else self._current(place)
        near = Place(Space.STATE, place.dataset, place.tag, state.id[:16], place.record)
        exact = state.names.get((place.record, name))
        if exact is not None:
            return self._state_node(near, exact)
        wanted = _canonical(name)
        row = state.records[place.record]
        same = [
            i
            for i in range(row.first, row.first + row.length)
            if wanted and _canonical(state.records[i].name) == wanted
        ]
        if len(same) != 1:
            raise PathMissing(name)
        return self._state_node(near, same[0])

    def _names_of_root(self) -> set[bytes]:
        return {name.partition(b"/")[0] for name in self._datasets}

    def _lookup_top(self, name: bytes) -> Node:
        if name not in self._names_of_root():
            raise PathMissing(name)
        return self._scope_node(name) if name.startswith(b"@") else self._dataset_node(self._datasets[name])

    def _lookup_in_scope(self, place: Place, name: bytes) -> Node:
        for dataset in self._datasets.values():
            scope, slash, rest = dataset.name.partition(b"/")
            if slash and digest64(scope) == place.dataset and rest == name:
                return self._dataset_node(dataset)
        raise PathMissing(name)

    def _lookup_tag(self, place: Place, name: bytes) -> Node:
        dataset = self._dataset(place.dataset)
        tag = dataset.tags.get(name)
        if tag is not None:
            return self._state_node(Place(Space.STATE, place.dataset, tag.number, tag.manifest[:16], 0), 0)
        if re.fullmatch(rb"b3-[0-9a-f]{12,64}", name):
            found = {s for s in dataset.states if s.hex().encode().startswith(name[3:])}
            if len(found) == 1:
                return self._state_node(Place(Space.STATE, place.dataset, 0, found.pop()[:16], 0), 0)
        raise PathMissing(name)

    # Listings

    def _children(self, folder: Node, after: int, limit: int, verifier: bytes) -> Listing:
        if folder.kind is not Kind.FOLDER:
            raise NotAFolder(b"?")
        place = folder.place
        if place.space is Space.STATE:
            return self._page(self._state(place), place, after, limit, NO_VERIFIER)
        if place.space is Space.FOLLOWING:
            named = [s for s in self._dataset(place.dataset).states if s[:8] == verifier]
            state = self._states[named[0][:16]] if named else self._current(place)  # the one that a page before named
            return self._page(state, place, after, limit, state.id[:8])
        entries = [e for e in sorted(self._catalogue_entries(place)) if e.cookie > after]
        return Listing(entries[:limit], len(entries) <= limit, NO_VERIFIER)

    def _page(self, state: _State, place: Place, after: int, limit: int, verifier: bytes) -> Listing:
        near = Place(Space.STATE, place.dataset, place.tag, state.id[:16], place.record)
        row = state.records[place.record]
        stop = min(row.length, after + limit)
        entries = [
            Entry(i + 1, state.records[row.first + i].name, self._state_node(near, row.first + i))
            for i in range(after, stop)
        ]
        return Listing(entries, stop >= row.length, verifier)

    def _catalogue_entries(self, place: Place) -> list[Entry]:
        if place.space is Space.DATASET:
            dataset = self._dataset(place.dataset)
            return [
                Entry(t.number, n, self._state_node(Place(Space.STATE, place.dataset, t.number, t.manifest[:16], 0), 0))
                for n, t in dataset.tags.items()
            ]
        if place.space is Space.ROOT:
            return [Entry(_name_cookie(n), n, self._lookup_top(n)) for n in self._names_of_root()]
        return [
            Entry(_name_cookie(rest), rest, self._dataset_node(dataset))
            for dataset in self._datasets.values()
            for scope, slash, rest in [dataset.name.partition(b"/")]
            if slash and digest64(scope) == place.dataset
        ]

    # Content

    def _read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        if file.kind is not Kind.FILE:
            raise IsAFolder(b"?")
        data = memoryview(self._record_of(file.place).data)[offset : offset + size]
        return [data[i : i + self._chunk_size] for i in range(0, len(data), self._chunk_size)]


def _fileid(place: Place) -> int:
    return digest64(repr(tuple(place)).encode())


def _name_cookie(name: bytes) -> int:
    return digest64(name) % (2**63 - 8) + 1


def _canonical(name: bytes) -> str | None:
    try:
        return unicodedata.normalize("NFC", name.decode())
    except UnicodeDecodeError:
        return None


def lay_out(contents: Contents, folder: Path) -> None:
    """Write contents below an existing folder, with their modes and times, as a push would find them."""
    here = os.fsencode(folder)
    for name, value in contents.items():
        path = here + b"/" + name
        if isinstance(value, Link):
            os.symlink(value.target, path)
        elif isinstance(value, Mapping):
            os.mkdir(path)
            lay_out(value, Path(os.fsdecode(path)))
        else:
            file = value if isinstance(value, File) else File(value)
            with open(path, "wb") as out:
                out.write(file.data)
            os.chmod(path, 0o755 if file.executable else 0o644)
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))


def resolve(tree: FileTree, path: str) -> Node:
    """Walk from the root along a `/`-separated path."""
    node = tree.root()
    for part in path.encode().split(b"/"):
        if part:
            node = tree.lookup(node, part)
    return node


__all__ = ["Contents", "File", "Link", "MemoryTree", "digest64", "lay_out", "resolve"]
