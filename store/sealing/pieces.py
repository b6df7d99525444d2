"""How the disk cache of a plain store is sealed: by a local key that lies elsewhere than the cache.

    a piece      salt, 32 random bytes; then its parts of 64 KiB (`store.objects.piece_form`), each by AES-256-GCM under
                 a key that is the piece's own, and its tag of 16 bytes
    its row      keyed BLAKE3 of its name, in hex: who has the folder can't tell which objects were read

    derived from           by HKDF-SHA256 with info             for
    the local key          "aetherfs/2/cache/" + folder's name  the folder's key
    the folder's key       salt, "aetherfs/2/cache/piece"       one piece
                           "aetherfs/2/cache/rows"              the rows' names: keyed BLAKE3
                           "aetherfs/2/cache/check"             the check value

A part's nonce is its number, 12 bytes little-endian; its associated data are the piece's size (8 bytes, little-endian)
and name. So a part opens at its place in its piece, and a piece in no row but its own, cut nowhere, and in no other
store's folder (that is named after the store).

The check value tells whether a folder was written with this key. It is derived from 32 random bytes, so it helps
nobody to find them.

**No nonce is used twice under one key.** Each write draws a new salt of 32 bytes from the system and derives a key from
it that seals the parts of this piece alone, so their numbers may be the nonces. A pair repeats only where two writes
draw one salt: for 2^64 writes the chance is below 2^-128.
Nothing is counted, so nothing has to be agreed on by the processes that share a folder, or remembered over restarts,
forks and restored snapshots. Pure functions but for the salt; any thread.
"""

import os
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.objects.base import Buffer
from store.objects.piece_form import PART, Opener, count
from store.sealing.secret_keys import derive
from store.secret import Secret

SALT: Final = 32
CHECK: Final = 16
ROW: Final = 20  # bytes of a row's digest: two names never meet
_INFO: Final = "aetherfs/2/cache/"


class PieceSeal:
    """Seals and opens the pieces of one folder. A `store.objects.piece_form.Form`."""

    head = SALT

    def __init__(self, key: Secret, folder: str) -> None:
        """Derive the folder's keys.

        Args:
            key: the local key.
            folder: the folder's name, which is the store's.
        """
        self._key = Secret(derive(key, _INFO + folder))
        self._rows = derive(self._key, f"{_INFO}rows")
        self.check = derive(self._key, f"{_INFO}check", size=CHECK).hex()

    def row(self, name: str) -> str:
        """Return under which key a piece stands in the table."""
        return blake3(name.encode(), key=self._rows).hexdigest(length=ROW)

    def lay(self, name: str, piece: Buffer) -> bytes:
        """Seal a piece, with a salt that was never used."""
        view, salt = memoryview(piece), os.urandom(SALT)
        encrypt, about = self._cipher(salt).encrypt, _about(name, len(view))
        parts = (encrypt(_nonce(k), view[k * PART : (k + 1) * PART], about) for k in range(count(len(view))))
        return b"".join((salt, *parts))

    def opener(self, name: str, head: bytes, plain: int) -> Opener:
        """Return what opens the parts of a piece of `plain` bytes, by its salt."""
        decrypt, about = self._cipher(head).decrypt, _about(name, plain)

        def opened(number: int, sealed: memoryview) -> bytes | None:
            try:
                return decrypt(_nonce(number), sealed, about)
            except InvalidTag:
                return None

        return opened

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(derive(self._key, f"{_INFO}piece", salt=salt))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def _about(name: str, plain: int) -> bytes:
    return plain.to_bytes(8, "little") + name.encode()
