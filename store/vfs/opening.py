"""Opens a store as a tree, with its caches. What a gateway's workers and the commands that read call."""

import logging
import sqlite3
from pathlib import Path

from store.catalogue.catalogue import Seen
from store.heap import share_buffers
from store.objects.base import ObjectStore
from store.objects.cached import CachedObjects
from store.objects.pieces import PieceCache
from store.repository import Repository
from store.root import StoreRoot, in_plain, in_plain_through
from store.secret import Secret
from store.vfs.storetree import StoreTree

_log = logging.getLogger(__name__)


def open_tree(
    objects: ObjectStore, root: StoreRoot, *, cache_memory: int, cache_dir: Path | None, cache_disk: int,
    cache_key: Secret | None = None, seen: Seen = lambda name, seq: None,
) -> StoreTree:  # fmt: skip
    """Open the store that lies in `objects` as a tree, and make the process one that reads piece after piece.

    Args:
        objects: the store, as it lies: an encrypted one's cache holds what is sealed.
        root: its record, with its keys.
        cache_memory: bytes of plain chunks to keep in memory.
        cache_dir: folder for a local cache of what was read, or `None`. Each store has a folder of its own in it: one
            state may lie in other packs elsewhere.
        cache_disk: most bytes that folder may take.
        cache_key: seals what that folder keeps of a plain store. Not used for an encrypted one.
        seen: told of heads that are read.
    """
    share_buffers()
    pieces = None
    if cache_dir is not None:
        try:
            pieces = PieceCache(cache_dir / root.store, cache_disk, key=cache_key if root.keys is None else None)
        except (OSError, sqlite3.Error) as error:
            _log.warning("no disk cache: %s can't be used: %s", cache_dir, error)
    if pieces is None:
        return StoreTree(Repository(in_plain(objects, root), root, seen=seen), memory=cache_memory)
    plain = in_plain_through(CachedObjects(objects, pieces), root)
    return StoreTree(Repository(plain.objects, root, seen=seen), memory=cache_memory, cache=plain)
