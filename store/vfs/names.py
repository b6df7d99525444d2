"""Which datasets there are at one moment, as an immutable snapshot.

It is kept by prefix, the first byte of the digest by which a dataset is known in places, so that a change below one
prefix makes little of it anew, and so that one prefix alone is enough to find a dataset of which the digest is known.

Any thread; pure. Two threads that ask for a folder first may both sort it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from blake3 import blake3

from store.catalogue.listing import PREFIXES, Listed

_TOP_COOKIE: Final = (1 << 63) - 8
_MARKS: Final = 65_521  # ns: less than lies between two publishes, enough to tell two sets of names apart

Folder = tuple[tuple[int, str], ...]  # (cookie, name), in order of cookies


def digest64(name: str) -> int:
    """Return the 64-bit digest by which a dataset or scope is known in places; never 0."""
    return int.from_bytes(blake3(name.encode()).digest(8), "big") or 1


def prefix_of(digest: int) -> str:
    """Return the prefix below which the head of the dataset with a 64-bit digest lies."""
    return PREFIXES[digest >> 56]


def cookie_of(name: str) -> int:
    """Return the cookie of a dataset or scope in a listing: it belongs to the name, whatever comes and goes."""
    return _cookie(digest64(name))


def _cookie(digest: int) -> int:
    return digest % (_TOP_COOKIE - 1) + 1


class Newest(NamedTuple):
    """The latest time that objects carry, and how many do: S3 tells whole seconds, and each change must be seen."""

    time_ns: int = 0
    carriers: int = 0

    def with_(self, time_ns: int, carriers: int = 1) -> "Newest":
        """Return the newest of these and others."""
        if time_ns == self.time_ns:
            return Newest(time_ns, self.carriers + carriers)
        return Newest(time_ns, carriers) if time_ns > self.time_ns else self


class Group:
    """The datasets below one prefix."""

    def __init__(self, heads: Iterable[Listed]) -> None:
        self.modified: dict[str, int] = {}  # name -> when its head was written last, ns
        self.by_digest: dict[int, str] = {}
        self.removed: dict[str, int] = {}  # as `modified`
        self.scopes: dict[str, int] = {}  # "@scope" -> ns, the latest of its datasets
        self.marks: dict[str, int] = {}  # "@scope", or "" -> the digests of its datasets as one number
        self.newest = Newest()  # of removed ones too
        for head in heads:
            self.newest = self.newest.with_(head.modified_ns)
            if head.deleted:
                self.removed[head.name] = head.modified_ns
                continue
            digest = digest64(head.name)
            self.modified[head.name] = head.modified_ns
            self.by_digest[digest] = head.name
            scope = head.name.partition("/")[0] if head.name.startswith("@") else ""
            self.marks[scope] = self.marks.get(scope, 0) ^ digest
            if scope:
                self.scopes[scope] = max(self.scopes.get(scope, 0), head.modified_ns)
        self.unscoped = sum(not name.startswith("@") for name in self.modified)

    def only(self, readable: Callable[[str], bool]) -> "Group":
        """Return the datasets, and the removed ones, whose names may be known; itself if all may."""
        shown = [Listed(name, at, False) for name, at in self.modified.items() if readable(name)]
        shown += [Listed(name, at, True) for name, at in self.removed.items() if readable(name)]
        return self if len(shown) == len(self.modified) + len(self.removed) else Group(shown)


class Names:
    """All datasets and scopes."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        hints: Newest = Newest(),  # noqa: B008  # immutable
        *,
        marked: bool = False,
    ) -> None:
        """Put a snapshot together.

        Args:
            groups: by prefix.
            hints: of the change hints; they say that something changed before anybody looks what.
            marked: times tell which names there are, too: by some microseconds. Names that come and go because a
                policy changes have their old times, and clients would go on with what they know of the folder.
        """
        self.groups = groups
        self.scopes: dict[str, int] = {}  # as in groups
        self._folders: dict[str, Folder] = {}
        newest = hints
        for group in groups.values():
            newest = newest.with_(*group.newest)
            for scope, modified_ns in group.scopes.items():
                self.scopes[scope] = max(self.scopes.get(scope, 0), modified_ns)
        self._scopes_by_digest = {digest64(scope): scope for scope in self.scopes}
        self.changed_ns = newest.time_ns + newest.carriers
        if marked:
            self._mark()
        self.width = sum(group.unscoped for group in groups.values()) + len(self.scopes)  # entries of `/`
        self.count = sum(len(group.modified) for group in groups.values())

    def _mark(self) -> None:
        marks: dict[str, int] = {}
        for group in self.groups.values():
            for scope, mark in group.marks.items():
                marks[scope] = marks.get(scope, 0) ^ mark
        for scope, digest in zip(self.scopes, self._scopes_by_digest, strict=True):
            self.scopes[scope] += marks[scope] % _MARKS
            marks[""] = marks.get("", 0) ^ digest
        self.changed_ns += marks.get("", 0) % _MARKS

    def modified_ns(self, name: str) -> int:
        """Return when the head of a dataset that is listed was written last."""
        return self.groups[prefix_of(digest64(name))].modified[name]

    def name_of(self, digest: int) -> str | None:
        """Return the dataset or scope with a digest."""
        group = self.groups.get(prefix_of(digest))
        return (group and group.by_digest.get(digest)) or self._scopes_by_digest.get(digest)

    def folder(self, scope: str = "") -> Folder:
        """Return what stands in a scope; without one, in `/`: datasets that are in none, and the scopes."""
        if scope not in self._folders:
            found = [
                (_cookie(digest), name)
                for group in self.groups.values()
                for digest, name in group.by_digest.items()
                if (name.startswith(f"{scope}/") if scope else not name.startswith("@"))
            ]
            if not scope:
                found += [(_cookie(digest), name) for digest, name in self._scopes_by_digest.items()]
            self._folders[scope] = tuple(sorted(found))
        return self._folders[scope]
