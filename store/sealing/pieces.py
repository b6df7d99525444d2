"""How the disk cache of a plain store is sealed: by a local key that lies elsewhere than the cache.

    a piece      salt, 32 random bytes; then AES-256-GCM of the piece under a key of its own; 16 bytes of tag
    its row      keyed BLAKE3 of its name, in hex: who has the folder can't tell which objects were read

    derived from           by HKDF-SHA256 with info             for
    the local key          "aetherfs/1/cache/" + folder's name  the folder's key
    the folder's key       salt, "aetherfs/1/cache/piece"       one piece
                           "aetherfs/1/cache/rows"              the rows' names: keyed BLAKE3
                           "aetherfs/1/cache/check"             the check value

The name is a piece's associated data, so a piece opens in no row but its own, and in no other store's folder (that is
named after the store). The check value tells whether a folder was written with this key. It is derived from 32 random
bytes, so it helps nobody to find them.

**No nonce is used twice under one key.** Each write draws a new salt of 32 bytes from the system and derives a key from
it that seals this piece alone, so the nonce may be a constant. A pair repeats only where two writes draw one salt: for
2^64 writes the chance is below 2^-128. Nothing is counted, so nothing has to be agreed on by the processes that share a
folder, or remembered over restarts, forks and restored snapshots. Pure functions but for the salt; any thread.
"""

import os
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.objects.base import Buffer
from store.sealing.secret_keys import derive
from store.secret import Secret

SALT: Final = 32
TAG: Final = 16
CHECK: Final = 16
ROW: Final = 20  # bytes of a row's digest: two names never meet
_NONCE: Final = bytes(12)
_INFO: Final = "aetherfs/1/cache/"


class PieceSeal:
    """Seals and opens the pieces of one folder."""

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

    def seal(self, name: str, piece: Buffer) -> bytes:
        """Seal a piece."""
        salt = os.urandom(SALT)
        return salt + self._cipher(salt).encrypt(_NONCE, piece, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """Open a piece; `None` where it is not what was sealed under this name with this key."""
        if len(sealed) < SALT + TAG:
            return None
        try:
            return self._cipher(sealed[:SALT]).decrypt(_NONCE, memoryview(sealed)[SALT:], name.encode())
        except InvalidTag:
            return None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(derive(self._key, f"{_INFO}piece", salt=salt))
