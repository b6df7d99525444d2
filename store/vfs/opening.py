"""Opens a store as a tree, with its caches. What a gateway's workers and the commands that read call."""

import logging
import sqlite3
from pathlib import Path

from store.objects.base import ObjectStore
from store.objects.cached import CachedObjects
from store.objects.pieces import PieceCache
from store.repository import Repository
from store.root import open_store
from store.vfs.storetree import StoreTree

_log = logging.getLogger(__name__)


def open_tree(objects: ObjectStore, *, cache_memory: int, cache_dir: Path | None, cache_disk: int) -> StoreTree:
    """Open the store that lies in `objects` as a tree.

    Args:
        objects: the store.
        cache_memory: bytes of plain chunks to keep in memory.
        cache_dir: folder for a local cache of what was read, or `None`. Each store has a folder of its own in it: one
            state may lie in other packs elsewhere.
        cache_disk: most bytes that folder may take.
    """
    root = open_store(objects)
    if cache_dir is None:
        return StoreTree(Repository(objects, root), memory=cache_memory)
    try:
        pieces = PieceCache(cache_dir / root.store, cache_disk)
    except (OSError, sqlite3.Error) as error:
        _log.warning("no disk cache: %s can't be used: %s", cache_dir, error)
        return StoreTree(Repository(objects, root), memory=cache_memory)
    cached = CachedObjects(objects, pieces)
    return StoreTree(Repository(cached, root), memory=cache_memory, forget=cached.forget)
