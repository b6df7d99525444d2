"""An encrypted store in a folder, as commands make it, and what somebody can do to it who may write there."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from store import jsondoc
from store.layout import ROOT_KEY
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.root import StoreRoot, in_plain, open_store
from store.sealing.key_source import read_key_file, spell_key, unlock_with
from store.sealing.names import Names

KINDS: Final = ("packs/", "manifests/", "index/", "datasets/", "history/", "changes/")


class Vault:
    """One store, and its key."""

    def __init__(self, path: Path, key_file: Path) -> None:
        self.path, self.key_file = path, key_file

    @property
    def flags(self) -> tuple[str, ...]:
        """What a command is given."""
        return ("--store", str(self.path), "--key-file", str(self.key_file))

    @property
    def key(self) -> str:
        """The key, as it is written."""
        return spell_key(read_key_file(self.key_file).draw("").kek)

    # with the key

    def root(self) -> StoreRoot:
        """Open the record."""
        return open_store(FolderStore(self.path), unlock_with(read_key_file(self.key_file)))

    def objects(self) -> ObjectStore:
        """Open the objects in plain."""
        return in_plain(FolderStore(self.path), self.root())

    def names(self) -> Names:
        """Return what translates keys."""
        keys = self.root().keys
        assert keys is not None
        return Names(keys)

    def plain_keys(self, prefix: str) -> list[str]:
        """Return the plain keys of objects of a kind."""
        return sorted(info.key for info in self.objects().list(prefix))

    def file(self, plain: str) -> Path:
        """Return the file in which an object lies."""
        return self.path / self.names().hide(plain)

    # without it

    def document(self) -> dict[str, Any]:
        """Return the record."""
        found: dict[str, Any] = json.loads((self.path / ROOT_KEY).read_bytes())
        return found

    def forge(self, document: dict[str, Any]) -> None:
        """Write a record with a sound sum."""
        document.pop("sum", None)
        put(self.path / ROOT_KEY, jsondoc.encode(document))

    def copy(self, to: Path) -> Path:
        """Copy all that lies there."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.path, to)
        return to

    def become(self, other: Path) -> None:
        """Have another store's objects lie there."""
        shutil.rmtree(self.path)
        shutil.copytree(other, self.path)


def put(path: Path, data: bytes) -> None:
    """Write an object as somebody who cares for nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
