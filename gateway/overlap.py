"""Keeps folders of the user's apart from a store that is a folder itself.

A push that published its own store would grow with each run and never be the same twice; a pull over one would destroy
it. Pure functions but for looking at where links lead; any thread.
"""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.config import Settings
from gateway.stores import store_folder
from store.errors import BadAddress, DestinationUnusable, printable


def refuse_source(source: Path, exclude: Sequence[str], settings: Settings) -> None:
    """Refuse to publish the store itself, unless a pattern leaves it out.

    Args:
        source: folder or file.
        exclude: shell patterns, as a push takes them.
        settings: they say where the store lies.

    Raises:
        BadAddress: the store lies in `source`, or `source` in the store; or the address cannot be used at all.
    """
    store, folder = _real_store(settings), os.path.realpath(source)
    if store is None or not os.path.isdir(folder):
        return
    if _lies_in(folder, store):
        raise BadAddress(store, f"{printable(folder)} lies in this store; publish folders that lie outside of it")
    if _lies_in(store, folder):
        below = os.path.relpath(store, folder)
        if not any(_matches(part, exclude) for part in _parts(below)):
            raise BadAddress(
                store, f"it lies in the folder to be published; --exclude {printable(below)} leaves it out"
            )


def refuse_dest(dest: Path, settings: Settings) -> None:
    """Refuse to pull over the store itself, into it, or over a folder that holds it.

    Raises:
        DestinationUnusable: it would be destroyed.
        BadAddress: the store's address cannot be used.
    """
    store, folder = _real_store(settings), os.path.realpath(dest)
    if store is not None and (_lies_in(folder, store) or _lies_in(store, folder)):
        raise DestinationUnusable(str(dest), f"the store itself lies there, at {store}")


def _real_store(settings: Settings) -> str | None:
    folder = store_folder(settings)
    return None if folder is None else os.path.realpath(folder)


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _parts(path: str) -> Iterator[str]:
    """Yield `a`, `a/b`, `a/b/c` of `a/b/c`: a folder that is left out takes all that is in it along."""
    names = path.split("/")
    yield from ("/".join(names[: i + 1]) for i in range(len(names)))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(text, pattern.rstrip("/"))
        for pattern in patterns
        for text in (path, os.path.basename(path))
    )
