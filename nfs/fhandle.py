"""File handles: computed from a place in the tree, never stored, equal on every gateway of a store.

    offset  size  type     field
    0       1     number   version of this layout: 1
    1       1     number   space: which part of the tree (store.vfs.tree.Space)
    2       6     number   export: keyed digest of the place that was mounted, which `..` does not leave; 0 is the whole
                           tree
    8       8     number   dataset: 64-bit digest of its name
    16      4     number   tag: its creation number, 0 for none. Two tags of one state are two folders, or Linux would
                           take them for one folder in two places and move its one entry back and forth
    20      16    bytes    the first half of the manifest's id
    36      6     number   record in the manifest
    42      8     bytes    grant: by what it was handed out, a token or a rule (nfs.grants); zeros for what needs none
    50      14    bytes    MAC: keyed BLAKE3 of the 50 bytes before, cut short

Numbers are big-endian. Whoever has no key can neither make a handle nor turn one into another.
Threads: any thread may call.
"""

import hmac
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from blake3 import blake3

from nfs.memo import Memo
from nfs.wire.errors import WireError
from store.vfs.tree import Place, Space

HANDLE_BYTES: Final = 64
LAYOUT: Final = 1
WHOLE_TREE: Final = 0
NO_GRANT: Final = bytes(8)

_BODY: Final = struct.Struct(">BBHIQI16sHI8s")  # 48-bit numbers as their upper 16 and lower 32 bits
_EXPORT: Final = slice(2, 8)
_RECORD_AT: Final = 36
GRANT_AT: Final = 42
GRANT_END: Final = 50
_MAC_BYTES: Final = HANDLE_BYTES - _BODY.size
_KEY_CONTEXT: Final = "aetherfs 2026 NFS file handle, layout 1"


class BadHandle(WireError):
    """A handle that this store never gave out: wrong length, layout or MAC."""


class Handle(NamedTuple):
    """What a handle says."""

    place: Place
    export: int = WHOLE_TREE
    grant: bytes = NO_GRANT


class FileHandles:
    """Makes and reads handles under one secret."""

    def __init__(self, secret: bytes, *, remembered: int = 65536) -> None:
        """Derive the MAC's key from the store's handle secret.

        Args:
            secret: the same on every gateway of a store, of any length.
            remembered: how many handles that were found right are not checked again.
        """
        self._key = blake3(secret, derive_key_context=_KEY_CONTEXT).digest()
        self._known: Memo[bytes, Handle] = Memo(remembered)

    def export_of(self, place: Place) -> int:
        """Return the export that a mount of a place is (48 bits): the same for ever, and nobody else can compute it."""
        if place.space is Space.ROOT:
            return WHOLE_TREE
        whole = self.encode(place)
        return int.from_bytes(blake3(_ROOT_DOMAIN + whole, key=self._key).digest(6), "big") or 1

    def encode(self, place: Place, *, export: int = WHOLE_TREE, grant: bytes = NO_GRANT) -> bytes:
        """Return the 64 bytes for a place, seen through an export (48 bits), by a grant (8 bytes)."""
        space, dataset, tag, manifest, record = place
        body = _BODY.pack(
            LAYOUT,
            space,
            export >> 32,
            export & 0xFFFFFFFF,
            dataset,
            tag,
            manifest,
            record >> 32,
            record & 0xFFFFFFFF,
            grant,
        )
        return body + self._mac(body)

    def of_state(self, place: Place, export: int, grant: bytes = NO_GRANT) -> Callable[[int], bytes]:
        """Return what makes handles of records in the state of `place`, many at a time, as `encode` makes them."""
        head = self.encode(place, export=export)[:_RECORD_AT]
        key, mac_bytes = self._key, _MAC_BYTES

        def handle_of(record: int) -> bytes:
            body = head + record.to_bytes(6, "big") + grant
            return body + blake3(body, key=key).digest(mac_bytes)

        return handle_of

    def decode(self, handle: bytes) -> Handle:
        """Return what a handle says.

        Raises:
            BadHandle: this store never gave it out.
        """
        known = self._known.get(handle)
        if known is not None:
            return known
        if len(handle) != HANDLE_BYTES:
            raise BadHandle(f"handle of {len(handle)} bytes, not {HANDLE_BYTES}")
        body = handle[: _BODY.size]
        if not hmac.compare_digest(self._mac(body), handle[_BODY.size :]):
            raise BadHandle("handle whose MAC does not match")
        layout, space, export_high, export_low, dataset, tag, manifest, record_high, record_low, grant = _BODY.unpack(
            body
        )
        if layout != LAYOUT or space not in _SPACES:
            raise BadHandle(f"handle of layout {layout}, space {space}")
        place = Place(Space(space), dataset, tag, manifest, record_high << 32 | record_low)
        opened = Handle(place, export_high << 32 | export_low, grant)
        self._known.put(handle, opened)
        return opened

    def _mac(self, body: bytes) -> bytes:
        return blake3(body, key=self._key).digest(_MAC_BYTES)


def export_in(handle: bytes) -> int:
    """Return the export in a handle that was found right before."""
    return int.from_bytes(handle[_EXPORT], "big")


def grant_in(handle: bytes) -> bytes:
    """Return the grant in a handle that was found right before."""
    return handle[GRANT_AT:GRANT_END]


_ROOT_DOMAIN: Final = b"root of an export"  # with a handle longer than any body, so that no MAC is such a digest
_SPACES: Final = frozenset(map(int, Space))
