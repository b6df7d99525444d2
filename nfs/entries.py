"""The short way to a page of READDIRPLUS: entries packed as they are taken, without an object for each.

A test proves that the bytes are those that the codec of `nfs.wire.nfs3` makes of the same entries.
Threads: a page belongs to one call.
"""

import struct
from collections.abc import Sequence
from typing import Final

from nfs.export import Export
from nfs.wire.nfs3types import FATTR3_BYTES, NAME_MAX, NFS3_FHSIZE
from nfs.wire.xdr import FALSE, PADDING
from store.vfs.tree import Entry, Node, Space

NAME_BYTES: Final = 4 + 8 + 4 + 8  # of an entry without its name: follows, fileid, length, cookie
PLUS_BYTES: Final = 4 + FATTR3_BYTES + 4 + 4 + NFS3_FHSIZE  # what READDIRPLUS adds to an entry that has both
BARE_BYTES: Final = 4 + 4  # and to one that has neither

_HEAD: Final = struct.Struct(">IQI")  # follows, fileid, length of the name
_TAIL: Final = struct.Struct(f">QI{FATTR3_BYTES}sII{NFS3_FHSIZE}s")  # cookie, attributes, handle
_BARE: Final = struct.Struct(">QII")  # cookie, no attributes, no handle


class PlusPage:
    """Entries of one reply, for as long as they fit."""

    def __init__(self, export: Export, within: int, grant: bytes, left: int, names_left: int) -> None:
        """Begin.

        Args:
            export: what is served.
            within: the export, in the other sense, of the folder's handle.
            grant: of the folder's handle.
            left: bytes for all entries.
            names_left: bytes for names, fileids and cookies alone.
        """
        self._export, self._within, self._grant = export, within, grant
        self._left, self._names_left = left, names_left
        self._parts: list[bytes] = []
        self.full = left < 0

    def packed(self) -> bytes:
        """Return the list of entries with its end."""
        return b"".join([*self._parts, FALSE])

    def __bool__(self) -> bool:
        """Tell whether there is an entry."""
        return bool(self._parts)

    def dot(self, cookie: int, name: bytes, fileid: int, node: Node | None) -> bool:
        """Add `.` with its node, or `..` without; return whether it fitted."""
        name_bytes = NAME_BYTES + len(name) + len(PADDING[len(name) % 4])
        if not self._fits(name_bytes, PLUS_BYTES if node is not None else BARE_BYTES):
            return False
        head = _HEAD.pack(1, fileid, len(name)) + name + PADDING[len(name) % 4]
        if node is None:
            self._parts.append(head + _BARE.pack(cookie, 0, 0))
        else:
            handle, fattr3 = self._export.outward(node, self._within, self._grant)
            self._parts.append(head + _TAIL.pack(cookie, 1, fattr3, 1, NFS3_FHSIZE, handle))
        return True

    def add(self, entries: Sequence[Entry], shift: int) -> int:
        """Add entries, their cookies `shift` higher, until one does not fit; return how many were dealt with."""
        export, within, grant, parts = self._export, self._within, self._grant, self._parts
        attributes, outward, number_of = export.attributes, export.outward, export.fileid
        left, names_left = self._left, self._names_left
        state: tuple[object, ...] = ()
        for taken, (cookie, name, node) in enumerate(entries):
            size = len(name)
            if size > NAME_MAX:  # left out: Linux gives a whole listing up for it (ENAMETOOLONG)
                continue
            padding = PADDING[size % 4]
            name_bytes = NAME_BYTES + size + len(padding)
            names_left -= name_bytes
            left -= name_bytes + PLUS_BYTES
            if left < 0 or names_left < 0:
                self.full = True
                return taken
            place = node.place
            if place.space is Space.STATE:
                if place[:4] != state:
                    state = place[:4]
                    handle_of = export.handles.of_state(place, within, grant)
                fattr3, handle = attributes(node), handle_of(place.record)
            else:
                handle, fattr3 = outward(node, within, grant)
            parts += (
                _HEAD.pack(1, number_of(node), size),
                name,
                padding,
                _TAIL.pack(cookie + shift, 1, fattr3, 1, NFS3_FHSIZE, handle),
            )
        self._left, self._names_left = left, names_left
        return len(entries)

    def _fits(self, name_bytes: int, more_bytes: int) -> bool:
        self._names_left -= name_bytes
        self._left -= name_bytes + more_bytes
        self.full = self._left < 0 or self._names_left < 0
        return not self.full
