"""What lies in a local folder: every entry's kind and identity, and the SHA-256 of files where it is asked for.

Links are never followed. Walking is one thread's work; hashing is done by a small pool.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from store.kinds import Kind
from store.push.source import Identity, identity

_HASHERS: Final = 4
_AHEAD: Final = 256  # files whose turn has not come

T = TypeVar("T")


class Found(NamedTuple):
    """One entry of a local folder."""

    kind: Kind | None  # None: a device, a pipe, a socket
    identity: Identity
    executable: bool
    links: int  # names that a file has
    target: bytes  # of a link


def look(folder: bytes) -> Iterator[tuple[bytes, Found]]:
    """Yield everything below a folder by its path in it, in the order of a manifest's records; nothing if it is absent.

    No more than one folder's names are held, and the paths of the folders that are still to be looked at.

    Raises:
        OSError: a folder in it can't be read.
    """
    waiting = deque([b""])
    while waiting:
        base = waiting.popleft()
        above = b"%b/%b" % (folder, base) if base else folder
        try:
            names = os.listdir(above)
        except FileNotFoundError:
            continue
        names.sort()
        for name in names:
            entry = look_at(b"%b/%b" % (above, name))
            if entry is not None:
                path = b"%b/%b" % (base, name) if base else name
                if entry.kind == Kind.FOLDER:
                    waiting.append(path)
                yield path, entry


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


def hash_files(folder: bytes, paths: Iterable[tuple[T, bytes | None]]) -> Iterator[tuple[T, bytes | None]]:
    """Yield what came with each path, and the SHA-256 of the file there, in the same order.

    Args:
        folder: where the files lie.
        paths: of each something to be handed on, and its path in the folder, or `None`, which is answered by `None`.

    Yields:
        `None` too where a file can't be read, or changes meanwhile.
    """
    under_way: deque[tuple[T, Future[bytes | None] | None]] = deque()
    pool = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash")
    try:
        for which, path in paths:
            job = None if path is None else pool.submit(sha256_of, b"%b/%b" % (folder, path))
            under_way.append((which, job))
            while under_way and (len(under_way) >= _AHEAD or under_way[0][1] is None):
                first, job = under_way.popleft()
                yield first, None if job is None else job.result()
        for first, job in under_way:
            yield first, None if job is None else job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
