"""The tree over a real store: `FileTree` from catalogue, manifests and blocks.

Places: `/` and scopes and datasets come from `live`, everything in a state from `states`. What is warm is what these
have in memory: fresh snapshots, decoded manifest pages, plain chunks. Any thread, as the seam says.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from store.blocks import BlockReader
from store.cache import ByteCache
from store.catalogue.head import Content, TagState
from store.catalogue.refs import DIGEST_PREFIX, ByDigest, Reference, TagKind, parse_reference
from store.errors import (
    BadName,
    Corrupt,
    DatasetMissing,
    FeatureMissing,
    IsAFolder,
    NotAFolder,
    NotALink,
    NotWarm,
    ObjectMissing,
    PathMissing,
    StaleNode,
    TagMissing,
)
from store.kinds import Kind
from store.layout import pack_key
from store.manifest.view import Manifest
from store.objects.cached import PIECE
from store.pack import Block
from store.repository import Repository
from store.root import Through
from store.vfs.ahead import ReadAhead
from store.vfs.changing import ROOT_PLACE, ChangingFolders, name_page, tag_of, tag_page
from store.vfs.live import LiveCatalogue, View
from store.vfs.names import Names
from store.vfs.states import SMALL, Caches, Run, StateTree, stand_in
from store.vfs.tree import NO_VERIFIER, FileDigests, Listing, Node, Place, Space, Usage

STATES: Final = 64 << 20  # bytes of what states keep open: some 1,000 of them
HEADS_READ: Final = 256  # datasets: a folder of more is listed without asking for each, and shows when it was written
ZEROS: Final = memoryview(bytes(1 << 20))
NEAR: Final = 256 << 10  # bytes of chunks that are decoded where nobody may wait: half a millisecond of work
_ROOM: Final = 4 << 20  # bytes: with so much of the memory left, more is decoded than was asked for
_DIGESTS: Final = 1 << 20  # bytes: which states some 2,000 folders `b3-...` are
_PARALLEL: Final = 16
_DAMAGED: Final = (Corrupt, ObjectMissing, FeatureMissing)

T = TypeVar("T")


class StoreTree:
    """Everything in one store, as one tree."""

    def __init__(
        self, repository: Repository, *, memory: int, cache: Through | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Start.

        Args:
            repository: the store.
            memory: bytes of plain chunks to keep in memory.
            cache: the disk cache that the repository's objects are read through.
            clock: seconds; by it snapshots of the catalogue age.
        """
        self.handle_key = repository.root.handle_key.reveal()
        self._repository = repository
        self._fsid = int(repository.root.store[:16], 16) or 1
        self.changing = ChangingFolders(self._fsid)
        self.live = LiveCatalogue(repository.objects, repository.catalogue, clock=clock)
        self._caches = Caches()
        self._states: ByteCache[tuple[int, int, bytes], StateTree] = ByteCache(STATES)
        self._by_digest: ByteCache[tuple[int, int, bytes], tuple[int, int, bytes]] = ByteCache(_DIGESTS)
        self._cache = cache
        self._blocks = BlockReader(
            repository.objects,
            memory,
            id_key=repository.root.id_key,
            forget=cache.forget if cache else None,
            at_hand=cache.at_hand if cache else None,
        )
        self._ahead = ReadAhead(self._fetch_ahead, memory)
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="states")

    @property
    def fsid(self) -> int:
        return self._fsid

    def close(self) -> None:
        """Stop the threads."""
        self._ahead.close()
        self._blocks.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # nodes

    def root(self) -> Node:
        return self.changing.root(self.live.outline_known())

    def node(self, place: Place) -> Node:
        match place.space:
            case Space.ROOT:
                return self.changing.root(self.live.outline())
            case Space.STATE:
                return self._state(place).found(place.record)
            case Space.SCOPE:
                names = self.live.names()
                return self.changing.scope(names, self._name(place))
            case _:
                view = self._view(self._name(place))
                return self.changing.of(view, place)

    def node_warm(self, place: Place) -> Node | None:
        match place.space:
            case Space.ROOT:
                outline = self.live.outline_warm()
                return self.changing.root(outline) if outline else None
            case Space.STATE:
                return _warm(self._state_warm(place), lambda s: s.found(place.record, warm=True))
            case Space.SCOPE:
                names = self.live.names_warm()
                name = names.name_of(place.dataset) if names else None
                return self.changing.scope(names, name) if names and name else None
            case _:
                view = self._view_warm(place)
                return self.changing.of(view, place) if view else None

    # what places mean

    def _name(self, place: Place) -> str:
        name = self.live.name_of(place.dataset)
        if name is None:
            raise StaleNode("its dataset")
        return name

    def _view(self, name: str) -> View:
        try:
            return self.live.view(name)
        except (DatasetMissing, BadName) as error:  # or the digest is a scope's, and no dataset has such a name
            self.live.forget(name)
            raise StaleNode(name) from error

    def _view_warm(self, place: Place) -> View | None:
        name = self.live.name_known(place.dataset)
        return self.live.view_warm(name) if name else None

    def _open(self, dataset: int, tag: int, content: Content) -> StateTree:
        id = bytes.fromhex(content.manifest)
        key = (dataset, tag, id[:16])
        state = self._states.get(key)
        if state is None:
            manifest = self._repository.manifest(id, bytes.fromhex(content.root))
            state = StateTree(dataset, tag, content, manifest, self._caches)
            self._states.put(key, state, manifest.cost)
        return state

    def _state_warm(self, place: Place) -> StateTree | None:
        return self._states.get((place.dataset, place.tag, place.manifest))

    def _state(self, place: Place) -> StateTree:
        state = self._state_warm(place)
        if state is not None:
            return state
        name = self._name(place)
        content = self._view(name).content(place.manifest) or self._past(name, place.manifest.hex())
        return self._open(place.dataset, place.tag, content)

    def _past(self, name: str, digits: str) -> Content:
        """Find a state that a dataset has or had."""
        try:
            return self._repository.catalogue.resolve(Reference(name, ByDigest(digits)), max_age_s=1.0).content
        except (TagMissing, DatasetMissing, BadName) as error:
            raise StaleNode(f"state b3-{digits[:12]} of {name}") from error

    def _current(self, view: View, tag: int, verifier: bytes = NO_VERIFIER) -> StateTree:
        """Open what a following root shows: the state that `verifier` names, if there was one, else today's."""
        content = tag_of(view, tag).content
        if verifier not in (NO_VERIFIER, bytes.fromhex(content.manifest[:16])):
            head = self._repository.catalogue.head(view.name, max_age_s=60)
            earlier = (e.content for e in reversed(head.history) if e.content)
            content = next((c for c in earlier if c.manifest.startswith(verifier.hex())), content)
        return self._open(view.digest, tag, content)

    def _current_warm(self, place: Place, verifier: bytes = NO_VERIFIER) -> StateTree | None:
        view = self._view_warm(place)
        tag = view.by_n.get(place.tag) if view else None
        if view is None or tag is None:
            return None
        prefix = bytes.fromhex(tag.content.manifest[:32])
        if verifier not in (NO_VERIFIER, prefix[:8]):
            return None
        return self._states.get((view.digest, tag.n, prefix))

    # names

    def lookup(self, folder: Node, name: bytes) -> Node:
        place = folder.place
        if folder.kind != Kind.FOLDER:
            raise NotAFolder(name)
        match place.space:
            case Space.STATE:
                state = self._state(place)
                return state.lookup(state.manifest, place.record, name)
            case Space.FOLLOWING:
                state = self._current(self._view(self._name(place)), place.tag)
                return state.lookup(state.manifest, 0, name)
            case Space.DATASET:
                return self._lookup_tag(self._view(self._name(place)), name)
            case Space.SCOPE:
                return self._lookup_dataset(f"{self._name(place)}/{text_of(name)}")
            case Space.ROOT:
                text = text_of(name)
                return self._scope_named(text) if text.startswith("@") else self._lookup_dataset(text)

    def _scope_named(self, scope: str) -> Node:
        names = self.live.names()
        if scope not in names.scopes:
            raise PathMissing(scope)
        return self.changing.scope(names, scope)

    def _lookup_dataset(self, name: str) -> Node:
        try:
            return self.changing.dataset(self.live.view(name))
        except (DatasetMissing, BadName) as error:
            raise PathMissing(name) from error

    def _lookup_tag(self, view: View, name: bytes) -> Node:
        text = text_of(name)
        tag = view.tags.get(text)
        if tag is not None:
            return self._open(view.digest, tag.n, tag.content).root()
        if not text.startswith(DIGEST_PREFIX):
            raise PathMissing(name)
        try:
            state = self._repository.catalogue.resolve(parse_reference(f"{view.name}@{text}"), max_age_s=1.0)
        except (TagMissing, DatasetMissing, BadName) as error:
            raise PathMissing(name) from error
        self._by_digest.put(
            (view.digest, view.seq, name), (view.digest, 0, bytes.fromhex(state.content.manifest[:32])), 400
        )
        return self._open(view.digest, 0, state.content).root()

    def lookup_warm(self, folder: Node, name: bytes) -> Node | None:
        place = folder.place
        if folder.kind != Kind.FOLDER:
            raise NotAFolder(name)
        match place.space:
            case Space.STATE:
                return _warm(self._state_warm(place), lambda s: s.lookup(s.manifest.warm, place.record, name))
            case Space.FOLLOWING:
                return _warm(self._current_warm(place), lambda s: s.lookup(s.manifest.warm, 0, name))
            case Space.DATASET:
                view = self._view_warm(place)
                return self._lookup_tag_warm(view, name) if view else None
            case Space.SCOPE:
                scope = self.live.name_known(place.dataset)
                return self._lookup_dataset_warm(f"{scope}/{text_of(name)}") if scope else None
            case Space.ROOT:
                text = text_of(name)
                if not text.startswith("@"):
                    return self._lookup_dataset_warm(text)
                names = self.live.names_warm()
                return self.changing.scope(names, text) if names and text in names.scopes else None

    def _lookup_dataset_warm(self, name: str) -> Node | None:
        view = self.live.view_warm(name)
        return self.changing.dataset(view) if view else None

    def _lookup_tag_warm(self, view: View, name: bytes) -> Node | None:
        tag = view.tags.get(text_of(name))
        key = _key(view, tag) if tag else self._by_digest.get((view.digest, view.seq, name))
        return _warm(self._states.get(key) if key else None, lambda s: s.found(0, warm=True))

    def parent(self, node: Node) -> Node:
        place = node.place
        match place.space:
            case Space.STATE if place.record:
                state = self._state(place)
                return state.parent(place.record)
            case Space.STATE | Space.FOLLOWING:
                return self.changing.dataset(self._view(self._name(place)))
            case Space.DATASET if self._name(place).startswith("@"):
                return self.changing.scope(self.live.names(), self._name(place).partition("/")[0])
            case _:
                return self.node(ROOT_PLACE)

    def parent_warm(self, node: Node) -> Node | None:
        place = node.place
        match place.space:
            case Space.STATE if place.record:
                return _warm(self._state_warm(place), lambda s: s.parent(place.record, warm=True))
            case Space.STATE | Space.FOLLOWING:
                view = self._view_warm(place)
                return self.changing.dataset(view) if view else None
            case Space.DATASET:
                name = self.live.name_known(place.dataset)
                if name is None or not name.startswith("@"):
                    return self.node_warm(ROOT_PLACE) if name else None
                names = self.live.names_warm()
                return self.changing.scope(names, name.partition("/")[0]) if names else None
            case _:
                return self.node_warm(ROOT_PLACE)

    def following(self, node: Node) -> Node:
        place = node.place
        if place.space != Space.STATE or place.record or not place.tag:
            return node
        return self._followed(self._view(self._name(place)), node)

    def following_warm(self, node: Node) -> Node | None:
        place = node.place
        if place.space != Space.STATE or place.record or not place.tag:
            return node
        view = self._view_warm(place)
        return self._followed(view, node) if view else None

    def _followed(self, view: View, node: Node) -> Node:
        tag = view.by_n.get(node.place.tag)
        moves = tag is not None and tag.kind == TagKind.CHANNEL
        return self.changing.follower(view, node.place.tag) if moves else node

    # listings

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        place = folder.place
        if folder.kind != Kind.FOLDER:
            raise NotAFolder("")
        match place.space:
            case Space.STATE:
                state = self._state(place)
                return _state_listing(state, state.manifest_for(passing=passing), place.record, after, limit)
            case Space.FOLLOWING:
                state = self._current(self._view(self._name(place)), place.tag, verifier)
                return _state_listing(state, state.manifest_for(passing=passing), 0, after, limit)
            case Space.DATASET:
                view = self._view(self._name(place))
                return tag_page(view, after, limit, lambda tags: self._pool.map(partial(self._listed_tag, view), tags))
            case Space.SCOPE | Space.ROOT:
                scope = self._name(place) if place.space == Space.SCOPE else ""
                return self.names_page(self.live.names(), scope, after, limit)

    def children_warm(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER
    ) -> Listing | None:
        place = folder.place
        if folder.kind != Kind.FOLDER:
            raise NotAFolder("")
        match place.space:
            case Space.STATE:
                state, number = self._state_warm(place), place.record
            case Space.FOLLOWING:
                state, number = self._current_warm(place, verifier), 0
            case _:
                return self._page_warm(place, after, limit)
        return _warm(state, lambda s: _state_listing(s, s.manifest.warm, number, after, limit))

    def _page_warm(self, place: Place, after: int, limit: int) -> Listing | None:
        try:
            if place.space == Space.DATASET:
                view = self._view_warm(place)
                roots = partial(self._tag_warm, view) if view else None
                return tag_page(view, after, limit, lambda tags: map(roots, tags)) if view and roots else None
        except NotWarm:
            return None
        names = self.live.names_warm()
        if names is None:
            return None
        scope = names.name_of(place.dataset) if place.space == Space.SCOPE else ""
        return None if scope is None else self.names_page_warm(names, scope, after, limit)

    def names_page(self, names: Names, scope: str, after: int, limit: int) -> Listing:
        """Return a page of what `names` show in a scope, or with "" in `/`."""
        shown = names.folder(scope)
        if len(shown) > HEADS_READ:
            return name_page(shown, after, limit, lambda n: map(partial(self._unasked, names), n))
        return name_page(shown, after, limit, lambda n: self._pool.map(partial(self._listed, names), n))

    def names_page_warm(self, names: Names, scope: str, after: int, limit: int) -> Listing | None:
        """Do as `names_page`, from memory alone."""
        shown = names.folder(scope)
        node = self._listed_warm if len(shown) <= HEADS_READ else self._unasked
        try:
            return name_page(shown, after, limit, lambda n: map(partial(node, names), n))
        except NotWarm:
            return None

    def _listed_tag(self, view: View, tag: TagState) -> Node:
        try:
            return self._open(view.digest, tag.n, tag.content).root()
        except _DAMAGED:  # met again, and told, by who looks into it; its neighbours can be listed all the same
            return stand_in(view.digest, tag.n, bytes.fromhex(tag.content.manifest), tag.moved_ns)

    def _tag_warm(self, view: View, tag: TagState) -> Node:
        state = self._states.get(_key(view, tag))
        if state is None:
            raise NotWarm
        return state.found(0, warm=True)

    def _listed_warm(self, names: Names, name: str) -> Node:
        if name in names.scopes:
            return self.changing.scope(names, name)
        view = self.live.view_warm(name)
        if view is None:
            raise NotWarm
        return self.changing.dataset(view)

    def _unasked(self, names: Names, name: str) -> Node:
        """Return an entry of a large folder, from memory alone."""
        if name in names.scopes:
            return self.changing.scope(names, name)
        view = self.live.view_warm(name)
        return self.changing.dataset(view) if view else self.changing.unread(names, name)

    def _listed(self, names: Names, name: str) -> Node | None:
        if name in names.scopes:
            return self.changing.scope(names, name)
        try:
            return self.changing.dataset(self.live.view(name))
        except DatasetMissing:  # removed since it was listed
            return None
        except _DAMAGED:  # as for tags
            return self.changing.unread(names, name)

    # contents

    def readlink(self, link: Node) -> bytes:
        if link.kind != Kind.LINK:
            raise NotALink("")
        manifest = self._state(link.place).manifest
        return manifest.link(manifest.record(link.place.record))

    def readlink_warm(self, link: Node) -> bytes | None:
        if link.kind != Kind.LINK:
            raise NotALink("")
        return _warm(
            self._state_warm(link.place), lambda s: s.manifest.warm.link(s.manifest.warm.record(link.place.record))
        )

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        if file.kind != Kind.FILE:
            raise IsAFolder("")
        state = self._state(file.place)
        runs = state.runs(state.manifest, file.place.record, offset, size)
        blocks = [block for block, _, _ in runs if block is not None]
        waited = any(self._blocks.warm(block.digest) is None for block in blocks)
        if waited and file.size <= SMALL:
            with contextlib.suppress(*_DAMAGED):  # told to who reads it
                self._blocks.load([*blocks, *state.along(file.place.record)])
        else:
            self._ahead.note(file.place, offset, size, waited=waited)
            if waited and self._cache and self._blocks.cache.used + _ROOM < self._blocks.cache.limit:
                with contextlib.suppress(*_DAMAGED):
                    self._blocks.load(self._together(state, file.place.record, offset, blocks))
        chunks = iter(self._blocks.load(blocks))
        views: list[memoryview] = []
        for block, start, length in runs:
            if block is None:
                views.extend(_zeros(length))
            else:
                views.append(memoryview(next(chunks))[start : start + length])
        return views

    def _together(self, state: StateTree, record: int, offset: int, blocks: list[Block]) -> list[Block]:
        """Return some blocks of a file with those around that lie in the same pieces of the disk cache.

        They come along anyway, or are there; so who reads at random has all of a file in memory after a read of each
        piece, and not of each block.
        """
        pieces = {piece for block in blocks for piece in self._pieces_of(block)}
        start = max(0, offset - PIECE)
        around = state.runs(state.manifest, record, start, offset + 2 * PIECE - start)
        return blocks + [block for block, _, _ in around if block is not None and pieces >= self._pieces_of(block)]

    def _pieces_of(self, block: Block) -> set[tuple[str, int]]:
        assert self._cache is not None, "asked of a store that has one"  # noqa: S101  # for the type checker
        key, offset, size = self._cache.below(pack_key(block.pack.hex()), block.offset, block.stored)
        return {(key, number) for number in range(offset // PIECE, (offset + size - 1) // PIECE + 1)}

    def _fetch_ahead(self, place: Place, offset: int, size: int) -> bool:
        state = self._state(place)
        runs = state.runs(state.manifest, place.record, offset, size)
        missing = [block for block, _, _ in runs if block is not None and self._blocks.warm(block.digest) is None]
        self._blocks.load(missing)
        return bool(missing)

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        if file.kind != Kind.FILE:
            raise IsAFolder("")
        place = file.place
        found = self._caches.maps.get(place)
        if found is not None:
            runs = found.runs(offset, size)
        else:
            looked = _warm(self._state_warm(place), lambda s: s.runs(s.manifest.warm, place.record, offset, size))
            if looked is None:
                return None
            runs = looked
        views: list[memoryview] = []
        looked_near = False
        for block, start, length in runs:
            if block is None:
                views.extend(_zeros(length))
                continue
            chunk = self._blocks.warm(block.digest)
            if chunk is None and not looked_near:
                looked_near = True
                chunk = self._near(runs, block)
            if chunk is None or len(chunk) != block.plain:  # a manifest that lies is found out by `read`
                return None
            views.append(memoryview(chunk)[start : start + length])
        self._ahead.warm(place, offset, size)
        return views

    def _near(self, runs: list[Run], first: Block) -> bytes | None:
        """Decode what is missing of some runs, if that is not much and needs no waiting; return the first."""
        warm = self._blocks.warm
        missing = dict.fromkeys(block for block, _, _ in runs if block is not None and warm(block.digest) is None)
        if sum(block.plain for block in missing) > NEAR:
            return None
        return warm(first.digest) if all(self._blocks.near(block) is not None for block in missing) else None

    def digests(self, file: Node) -> FileDigests:
        if file.kind != Kind.FILE:
            raise IsAFolder("")
        return _digests(self._state(file.place).manifest, file.place.record)

    def digests_warm(self, file: Node) -> FileDigests | None:
        if file.kind != Kind.FILE:
            raise IsAFolder("")
        return _warm(self._state_warm(file.place), lambda s: _digests(s.manifest.warm, file.place.record))

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        if any(file.kind != Kind.FILE for file in files):
            raise IsAFolder("")
        found: list[FileDigests] = []
        for _, together in itertools.groupby(files, key=_state_of):
            places = [file.place for file in together]
            manifest = self._state(places[0]).manifest_for(passing=passing)
            found.extend(map(FileDigests._make, manifest.digests([place.record for place in places])))
        return found

    def usage(self, node: Node) -> Usage:
        place = node.place
        if place.space == Space.STATE:
            content = self._state(place).content
            return Usage(content.size, content.files)
        if place.space == Space.FOLLOWING:
            content = tag_of(self._view(self._name(place)), place.tag).content
            return Usage(content.size, content.files)
        return usage_of(self.live.views_known())

    def open_to_all(self, node: Node) -> bool:
        return True


def usage_of(views: Iterable[View]) -> Usage:
    """Return what lies in all states of datasets together, each counted once."""
    states = {tag.content.manifest: tag.content for view in views for tag in view.by_n.values()}
    return Usage(sum(c.size for c in states.values()), sum(c.files for c in states.values()))


def _key(view: View, tag: TagState) -> tuple[int, int, bytes]:
    return view.digest, tag.n, bytes.fromhex(tag.content.manifest[:32])


def _warm(state: StateTree | None, answer: Callable[[StateTree], T]) -> T | None:
    if state is None:
        return None
    try:
        return answer(state)
    except NotWarm:
        return None


def _state_listing(state: StateTree, manifest: Manifest, number: int, after: int, limit: int) -> Listing:
    entries, eof = state.entries(manifest, number, after, limit)
    return Listing(entries, eof, state.prefix[:8])


def _digests(manifest: Manifest, record: int) -> FileDigests:
    number = manifest.record(record).first
    return FileDigests(manifest.sha256(number), manifest.md5(number))


def _state_of(node: Node) -> tuple[int, int, bytes]:
    return node.place[1:4]


def _zeros(size: int) -> list[memoryview]:
    whole, rest = divmod(size, len(ZEROS))
    return [ZEROS] * whole + ([ZEROS[:rest]] if rest else [])


def text_of(name: bytes) -> str:
    """Read a name as that of a dataset, scope or tag, which are ASCII.

    Raises:
        PathMissing: it is none.
    """
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise PathMissing(name) from error
