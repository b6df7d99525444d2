"""The part of a store's tree that one principal may see. What may not be read is as if it were not there.

Hidden datasets are not listed, are `PathMissing` by name and `HiddenNode` by place, and nothing else tells of them: `/`
and scopes have the sizes and times that those datasets alone would give them that may be read, and a scope shows if one
of these is in it. Whether a name may be read is asked before the store is: names that may not be read are answered
alike, whether or not there is such a dataset.

Who may read what is for others to say: it comes as predicates over names, with a mark that changes whenever their
answers may have. Any thread, as the seam says.
"""

from collections.abc import Callable, Sequence
from typing import Final

from store.errors import HiddenNode, PathMissing, StaleNode
from store.vfs.changing import ROOT_PLACE
from store.vfs.names import Group, Names
from store.vfs.storetree import StoreTree, text_of, usage_of
from store.vfs.tree import NO_VERIFIER, FileDigests, Kind, Listing, Node, Place, Space, Usage

QUICK: Final = 1000  # datasets: to choose among more takes longer than may be waited where clients are served
_REMEMBERED: Final = 100_000  # datasets of which is remembered whether they may be read


class _Answers:
    """What was found out since the predicates' answers changed last."""

    def __init__(self, generation: object) -> None:
        self.generation = generation
        self.readable: dict[int, bool] = {}  # by digest of the dataset's name
        self.public: dict[int, bool] = {}
        self.groups: dict[str, tuple[Group, Group]] = {}  # prefix -> (all, those that may be read)
        self.names: tuple[Names, Names] | None = None  # the same of a whole snapshot


class VisibleTree:
    """A `FileTree` of what may be read in a store."""

    def __init__(
        self,
        tree: StoreTree,
        *,
        readable: Callable[[str], bool],
        public: Callable[[str], bool],
        generation: Callable[[], object],
    ) -> None:
        """Look at a tree through predicates over names of datasets, whether or not there are such datasets.

        Args:
            tree: everything in the store.
            readable: whether the principal may read a dataset. From memory, and from any thread, as all three.
            public: whether anybody may.
            generation: equals what it was before as long as the others answer as before. Once it has changed, they must
                have changed already.
        """
        self._tree, self._readable, self._public, self._generation = tree, readable, public, generation
        self._live, self._changing, self._read_warm = tree.live, tree.changing, tree.read_warm
        self._answers = _Answers(generation())

    @property
    def fsid(self) -> int:
        return self._tree.fsid

    # what may be read

    def _current(self) -> _Answers:
        """Return what is found out of the predicates as they answer now."""
        answers = self._answers
        if answers.generation != self._generation():
            answers = self._answers = _Answers(self._generation())
        return answers

    def _known(self, place: Place) -> bool:
        """Tell whether memory knows that a dataset may be read.

        Raises:
            HiddenNode: it may not.
        """
        answers = self._current()
        readable = answers.readable.get(place.dataset)
        if readable is None:
            name = self._live.name_known(place.dataset)
            if name is None:
                return False
            readable = self._asked(answers, place.dataset, name)
        if not readable:
            raise HiddenNode("its dataset")
        return True

    def _check(self, place: Place) -> None:
        """Check that a dataset may be read.

        Raises:
            StaleNode: there is none.  HiddenNode: it may not.
        """
        if self._known(place):
            return
        name = self._live.name_of(place.dataset)
        if name is None:
            raise StaleNode("its dataset")
        if not self._asked(self._answers, place.dataset, name):
            raise HiddenNode("its dataset")

    def _asked(self, answers: _Answers, dataset: int, name: str) -> bool:
        if len(answers.readable) >= _REMEMBERED:
            answers.readable.clear()
        readable = answers.readable[dataset] = self._readable(name)
        return readable

    def _names(self) -> Names:
        return self._shown(self._live.names())

    def _names_warm(self) -> Names | None:
        names = self._live.names_warm()
        if names is None:
            return None
        answers = self._answers
        made = answers.names is not None and answers.names[0] is names and answers.generation == self._generation()
        return self._shown(names) if made or names.count <= QUICK else None

    def _shown(self, names: Names) -> Names:
        """Return what may be read of a snapshot."""
        answers = self._current()
        known = answers.names
        if known is None or known[0] is not names:
            groups = {prefix: self._group(answers, prefix, group) for prefix, group in names.groups.items()}
            known = answers.names = names, Names(groups, marked=True)
        return known[1]

    def _group(self, answers: _Answers, prefix: str, group: Group) -> Group:
        known = answers.groups.get(prefix)
        if known is None or known[0] is not group:
            known = answers.groups[prefix] = group, group.only(self._readable)
        return known[1]

    def open_to_all(self, node: Node) -> bool:
        place = node.place
        if place.space in (Space.ROOT, Space.SCOPE):
            return False
        if not self._known(place):
            return False
        answers = self._answers
        public = answers.public.get(place.dataset)
        if public is None:
            name = self._live.name_known(place.dataset)
            if name is None:
                return False
            if len(answers.public) >= _REMEMBERED:
                answers.public.clear()
            public = answers.public[place.dataset] = self._public(name)
        return public

    # nodes

    def root(self) -> Node:
        return self._changing.root(self._shown(self._live.names_known()))

    def node(self, place: Place) -> Node:
        if place.space is Space.ROOT:
            return self._changing.root(self._names())
        if place.space is Space.SCOPE:
            names = self._names()
            return self._changing.scope(names, self._scope(names, place))
        self._check(place)
        return self._tree.node(place)

    def node_warm(self, place: Place) -> Node | None:
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            names = self._names_warm()
            if names is None:
                return None
            root = place.space is Space.ROOT
            return self._changing.root(names) if root else self._changing.scope(names, self._scope(names, place))
        return self._tree.node_warm(place) if self._known(place) else None

    # names

    def lookup(self, folder: Node, name: bytes) -> Node:
        place = folder.place
        if place.space is Space.ROOT:
            return self._scope_named(self._names(), name) if name.startswith(b"@") else self._dataset(folder, "", name)
        if place.space is Space.SCOPE:
            return self._dataset(folder, f"{self._scope(self._names(), place)}/", name)
        self._check(place)
        return self._tree.lookup(folder, name)

    def _scope_named(self, names: Names, name: bytes) -> Node:
        scope = text_of(name)
        if scope not in names.scopes:
            raise PathMissing(scope)
        return self._changing.scope(names, scope)

    def _dataset(self, folder: Node, scope: str, name: bytes) -> Node:
        self._check_name(scope, name)
        return self._tree.lookup(folder, name)

    def _check_name(self, scope: str, name: bytes) -> None:
        text = text_of(name)
        if not self._readable(f"{scope}{text}"):
            raise PathMissing(text)

    def lookup_warm(self, folder: Node, name: bytes) -> Node | None:
        place = folder.place
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            scope = ""
            if place.space is Space.SCOPE or name.startswith(b"@"):
                names = self._names_warm()
                if names is None:
                    return None
                if place.space is Space.ROOT:
                    return self._scope_named(names, name)
                scope = f"{self._scope(names, place)}/"
            self._check_name(scope, name)
        elif not self._known(place):
            return None
        return self._tree.lookup_warm(folder, name)

    def parent(self, node: Node) -> Node:
        place = node.place
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            return self.node(ROOT_PLACE)
        self._check(place)
        if place.space is not Space.DATASET:
            return self._tree.parent(node)
        name = self._live.name_of(place.dataset) or ""
        return self._above(self._names(), name)

    def parent_warm(self, node: Node) -> Node | None:
        place = node.place
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            return self.node_warm(ROOT_PLACE)
        if not self._known(place):
            return None
        if place.space is not Space.DATASET:
            return self._tree.parent_warm(node)
        name, names = self._live.name_known(place.dataset), self._names_warm()
        return self._above(names, name) if name is not None and names is not None else None

    def _above(self, names: Names, dataset: str) -> Node:
        if dataset.startswith("@"):
            return self._changing.scope(names, dataset.partition("/")[0])
        return self._changing.root(names)

    def following(self, node: Node) -> Node:
        if node.place.space is Space.STATE:
            self._check(node.place)
        return self._tree.following(node)

    def following_warm(self, node: Node) -> Node | None:
        if node.place.space is Space.STATE and not self._known(node.place):
            return None
        return self._tree.following_warm(node)

    # listings

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        place = folder.place
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            names = self._names()
            scope = self._scope(names, place) if place.space is Space.SCOPE else ""
            return self._tree.names_page(names, scope, after, limit)
        self._check(place)
        return self._tree.children(folder, after=after, limit=limit, verifier=verifier, passing=passing)

    def children_warm(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER
    ) -> Listing | None:
        place = folder.place
        if place.space is Space.ROOT or place.space is Space.SCOPE:
            names = self._names_warm()
            if names is None:
                return None
            scope = self._scope(names, place) if place.space is Space.SCOPE else ""
            return self._tree.names_page_warm(names, scope, after, limit)
        if not self._known(place):
            return None
        return self._tree.children_warm(folder, after=after, limit=limit, verifier=verifier)

    # contents

    def readlink(self, link: Node) -> bytes:
        if link.kind is Kind.LINK:
            self._check(link.place)
        return self._tree.readlink(link)

    def readlink_warm(self, link: Node) -> bytes | None:
        if link.kind is Kind.LINK and not self._known(link.place):
            return None
        return self._tree.readlink_warm(link)

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        if file.kind is Kind.FILE:
            self._check(file.place)
        return self._tree.read(file, offset, size)

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        answers = self._answers  # as `_known`, in short: this is what is asked most
        if answers.readable.get(file.place.dataset) and answers.generation == self._generation():
            return self._read_warm(file, offset, size)
        if file.kind is Kind.FILE and not self._known(file.place):
            return None
        return self._tree.read_warm(file, offset, size)

    def digests(self, file: Node) -> FileDigests:
        if file.kind is Kind.FILE:
            self._check(file.place)
        return self._tree.digests(file)

    def digests_warm(self, file: Node) -> FileDigests | None:
        if file.kind is Kind.FILE and not self._known(file.place):
            return None
        return self._tree.digests_warm(file)

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        datasets = {file.place.dataset: file.place for file in files if file.kind is Kind.FILE}
        for place in datasets.values():
            self._check(place)
        return self._tree.digests_of(files, passing=passing)

    def usage(self, node: Node) -> Usage:
        place = node.place
        if place.space is not Space.ROOT and place.space is not Space.SCOPE:
            self._check(place)
        if place.space is Space.STATE or place.space is Space.FOLLOWING:
            return self._tree.usage(node)
        return usage_of(view for view in self._live.views_known() if self._readable(view.name))

    def _scope(self, names: Names, place: Place) -> str:
        """Return the scope that a place means.

        Raises:
            StaleNode: no dataset lies in it any more.  HiddenNode: none that may be read.
        """
        scope = names.name_of(place.dataset)
        if scope is None:
            raise StaleNode("its scope") if self._live.name_known(place.dataset) is None else HiddenNode("its scope")
        return scope
