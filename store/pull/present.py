"""What lies in a local folder: every entry's kind and identity, and the SHA-256 of files where it is asked for.

Links are never followed. Walking is one thread's work; hashing is done by a small pool.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from store.kinds import Kind
from store.push.source import Identity, identity

_HASHERS: Final = 4


class Found(NamedTuple):
    """One entry of a local folder."""

    kind: Kind | None  # None: a device, a pipe, a socket
    identity: Identity
    executable: bool
    links: int  # names that a file has
    target: bytes  # of a link


def look(folder: bytes) -> dict[bytes, Found]:
    """Return everything below a folder by its path in it, folders before what lies in them; nothing if it is absent.

    Raises:
        OSError: a folder in it can't be read.
    """
    found: dict[bytes, Found] = {}
    waiting = [b""]
    while waiting:
        base = waiting.pop()
        above = b"%b/%b" % (folder, base) if base else folder
        try:
            names = sorted(os.listdir(above))
        except FileNotFoundError:
            continue
        for name in names:
            path = b"%b/%b" % (base, name) if base else name
            entry = look_at(b"%b/%b" % (above, name))
            if entry is not None:
                found[path] = entry
                if entry.kind == Kind.FOLDER:
                    waiting.append(path)
    return found


def look_at(path: bytes) -> Found | None:
    """Return one entry, or `None` where there is nothing."""
    try:
        status = os.lstat(path)
        target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""
    except FileNotFoundError:
        return None
    executable = stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
    return Found(_kind(status.st_mode), identity(status), executable, status.st_nlink, target)


def _kind(mode: int) -> Kind | None:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.LINK if stat.S_ISLNK(mode) else None


def hash_files(folder: bytes, paths: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the SHA-256 of files by path; those that can't be read, or change meanwhile, are left out."""
    with ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash") as pool:
        listed = list(paths)
        hashes = pool.map(lambda path: sha256_of(os.path.join(folder, path)), listed)
        return {path: digest for path, digest in zip(listed, hashes, strict=True) if digest is not None}


def sha256_of(path: bytes) -> bytes | None:
    """Return the SHA-256 of a regular file, or `None` where it can't be read or changes meanwhile."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            before = identity(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").digest()
            return digest if identity(os.fstat(file.fileno())) == before else None
    except OSError:
        return None


def _open_regular(path: str | bytes, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
