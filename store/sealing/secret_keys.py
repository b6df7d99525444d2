"""The secrets of an encrypted store, and every key that is derived from them (docs/format.md, Sealing).

There are three, each random and 32 bytes: data keys, of which the store has one or more and every sealed object names
its own; the id secret, which never changes, since chunk ids, names and cuts hang on it; the handle key, for NFS.

    derived from       by HKDF-SHA256 with info                      for
    a data key         salt of the write, "aetherfs/1/" + kind       the bytes of one object (`segments`)
    the id secret      no salt, "aetherfs/1/chunks"                  ids of chunks: keyed BLAKE3
                                "aetherfs/1/names" (64 bytes)        names of objects: AES-256-SIV (`names`)
                                "aetherfs/1/groups"                  which two digits a dataset's objects lie under
                                "aetherfs/1/record"                  the MAC of `aetherfs.json`: HMAC-SHA256
                                "aetherfs/1/cuts" (8 bytes)          the chunker's seed
                                "aetherfs/1/local"                   what pushes and pulls keep in local files
                                "aetherfs/1/seen"                    names in the note of heads that were seen
                                "aetherfs/1/pin" (16 bytes)          tells a store's secrets from another's
                                "aetherfs/1/seen"                    names in the local table of heads that were seen

A `KeyRing` is what a process holds: it may learn of new data keys while it runs. Any thread.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from store.flight import SingleFlight
from store.secret import Secret

KEY_SIZE: Final = 32
KEY_ID_SIZE: Final = 16
_LOOK_AGAIN: Final = 64  # ids of keys remembered that the record does not have: no second look for each object


def derive(secret: Secret, info: str, *, salt: bytes | None = None, size: int = KEY_SIZE) -> bytes:
    """Derive a key: HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=salt, info=info.encode()).derive(secret.reveal())


class KeyUnknown(Exception):
    """An object names a data key that the store does not have."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"it names the data key {key_id[:12]}, which is none of this store's")


DataKeys = Mapping[bytes, Secret]  # by id, in the order in which they were made


class KeyRing:
    """All keys of one store, unwrapped."""

    def __init__(
        self, *, data: DataKeys, id_secret: Secret, handle: Secret, reload: Callable[[], DataKeys] | None = None
    ) -> None:
        """Hold keys.

        Args:
            data: data keys; the last one seals new objects.
            id_secret: the id secret.
            handle: authenticates NFS handles.
            reload: reads the data keys anew, for when an object names one that came later.
        """
        self._data = dict(data)
        self.current = next(reversed(self._data))
        self.id_secret, self.handle, self.reload = id_secret, handle, reload
        self._unknown: set[bytes] = set()
        self._looks: SingleFlight[str, DataKeys] = SingleFlight()

    @property
    def data(self) -> DataKeys:
        """Return the data keys known so far."""
        return dict(self._data)

    def data_key(self, key_id: bytes) -> Secret:
        """Return a data key; one that is not known yet is looked for in the store's record.

        Raises:
            KeyUnknown: there is none of that id.
            StoreError: the record could not be read.
        """
        found = self._data.get(key_id)
        if found is None and self.reload is not None and key_id not in self._unknown:
            self._data.update(self._looks.do("", self.reload))  # no lock is held meanwhile
            found = self._data.get(key_id)
            if found is None and len(self._unknown) < _LOOK_AGAIN:
                self._unknown.add(key_id)
        if found is None:
            raise KeyUnknown(key_id.hex())
        return found

    def derived(self, purpose: str, size: int = KEY_SIZE) -> bytes:
        """Derive a key from the id secret."""
        return derive(self.id_secret, f"aetherfs/1/{purpose}", size=size)

    @property
    def seed(self) -> int:
        """The chunker's seed: 63 bits, what every implementation takes."""
        return int.from_bytes(self.derived("cuts", 8), "little") >> 1
