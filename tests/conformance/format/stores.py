"""Stores that this project makes, plain and encrypted, for the page's reader to read. Imports what is under test."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.repository import Repository
from store.root import ENCRYPTION, StoreRoot, create_store, in_plain, open_store
from store.sealing.key_source import GivenKey, make_envelope, unlock_with
from store.secret import Secret

PLAIN, ENCRYPTED = None, bytes(range(100, 132))  # key-encryption keys
KEYS = {"plain": PLAIN, "encrypted": ENCRYPTED}


class Opened(NamedTuple):
    """A store, opened."""

    objects: ObjectStore  # in plain
    repository: Repository


def given(key: bytes) -> GivenKey:
    """Return a key as commands have it."""
    return GivenKey(Secret(key), "the test")


def make_store(folder: Path, key: bytes | None) -> Opened:
    """Make a store; with a key, an encrypted one."""

    def encrypt(fresh: StoreRoot) -> StoreRoot:
        assert key is not None
        envelope, keys = make_envelope(given(key), fresh.store, fresh.created_ns)
        return replace(fresh, envelope=envelope, keys=keys, handle_key=keys.handle, features={"read": (ENCRYPTION,)})

    create_store(FolderStore(folder, create=True), encrypt=None if key is None else encrypt)
    return opened(folder, key)


def opened(folder: Path, key: bytes | None) -> Opened:
    """Open a store that is there."""
    lying = FolderStore(folder)
    root = open_store(lying, None if key is None else unlock_with(given(key)))
    objects = in_plain(lying, root)
    return Opened(objects, Repository(objects, root))
