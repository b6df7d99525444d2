"""Names that systems ask for in every folder, and that are hardly ever there: told from memory, not by the store.

Finder asks for `._x` beside each `x`; Explorer for `desktop.ini` and pictures in each folder. A state may hold such a
name all the same, and then it is found: its folder, once met, never changes, and the manifest's pages in memory say
what it holds. What is remembered is only which folder a path led to, so that the catalogue need not be asked whether a
tag has moved: for ever for what lasts, for `KEPT_S` for channels, in which such a name may come later than others.
Threads: any.
"""

import math
import time
from collections.abc import Callable
from typing import Final

from dav.files import lasting
from dav.resolve import Found, descend, resolve
from store.cache import ByteCache
from store.errors import NotAFolder, PathMissing
from store.vfs.tree import FileTree, Space

KEPT_S: Final = 5.0
FOLDERS: Final = 1 << 20  # bytes: some thousands
ABSENT: Final = 256 << 10  # bytes

# Asked for by (macOS:) Finder, Spotlight, Quick Look, Time Machine; (Windows:) Explorer; (Linux:) GNOME and KDE.
_NAMES: Final = frozenset(
    (
        b".DS_Store",
        b".Spotlight-V100",
        b".Trashes",
        b".TemporaryItems",
        b".VolumeIcon.icns",
        b".apdisk",
        b".com.apple.timemachine.donotpresent",
        b".com.apple.timemachine.supported",
        b".fseventsd",
        b".hidden",
        b".localized",
        b".metadata_never_index",
        b".metadata_never_index_unless_rootfs",
        b".ql_disablecache",
        b".ql_disablethumbnails",
        b"Backups.backupdb",
        b"mach_kernel",
        b"Icon\r",
        b"autorun.inf",
        b"desktop.ini",
        b"folder.gif",
        b"folder.jpg",
        b"thumbs.db",
        b".directory",
        b".xdg-volume-info",
        b"autorun.sh",
    )
)
_LOWER: Final = frozenset(name.lower() for name in _NAMES)  # Windows asks as it likes: Desktop.ini, AutoRun.inf
_BEGINNINGS: Final = (b"._", b".trash-", b".~lock.", b"~$")

# Empty files that a volume of Finder's has although nobody pushed them: they keep Spotlight from reading everything to
# index it, and Quick Look from reading each file for a picture of it. Not listed; asked for by these names alone.
_HINTS: Final = frozenset((b".metadata_never_index", b".ql_disablethumbnails"))


def is_probe(name: bytes) -> bool:
    """Tell whether systems ask for a name by themselves."""
    lower = name.lower()
    return lower in _LOWER or lower.startswith(_BEGINNINGS)


def is_hint(name: bytes) -> bool:
    """Tell whether a name is one of the empty files that Finder is to find."""
    return name in _HINTS


class Probes:
    """What is known of folders that were asked for such names."""

    def __init__(self, tree: FileTree, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tree, self._clock = tree, clock
        self._folders: ByteCache[tuple[bytes, ...], tuple[Found, float]] = ByteCache(FOLDERS)
        self._absent: ByteCache[tuple[bytes, ...], float] = ByteCache(ABSENT)

    def resolve(self, names: tuple[bytes, ...]) -> Found:
        """Find what names lead to from the root, as `dav.resolve.resolve` does; what is missing often from memory."""
        for number, name in enumerate(names, 1):
            if is_probe(name):
                self._check(names[:number])
        return resolve(self._tree, names)

    def _check(self, names: tuple[bytes, ...]) -> None:
        """Look for a path that ends in such a name.

        Raises:
            PathMissing, NotAFolder: it is not there, or was not a moment ago. Without one, look as for any other.
        """
        above, name, now_s = names[:-1], names[-1], self._clock()
        if name.startswith(b".") and _in_catalogue(above):
            raise PathMissing(name)  # neither a dataset nor a tag can be called so
        until_s = self._absent.get(names)
        if until_s is not None and now_s < until_s:
            raise PathMissing(name)
        known = self._folders.get(above)
        if known is None or now_s >= known[1]:
            found = resolve(self._tree, above)
            known = found, math.inf if lasting(self._tree, found.state) else now_s + KEPT_S
            if found.node.place.space is Space.STATE:
                self._folders.put(above, known, 200 * len(found.chain) + sum(map(len, above)))
        try:
            descend(self._tree, known[0], (name,))
        except (PathMissing, NotAFolder):
            if known[0].node.place.space is not Space.STATE:
                self._absent.put(names, now_s + KEPT_S, sum(map(len, names)))
                raise PathMissing(name) from None  # in the words of the next time
            raise


def _in_catalogue(folder: tuple[bytes, ...]) -> bool:
    """Tell whether a folder holds datasets or tags."""
    return len(folder) < (3 if folder and folder[0].startswith(b"@") else 2)
