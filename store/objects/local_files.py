"""What the folder store does with single files: whole writes, ranged reads, locks, and what the system's errors mean.

Threads: plain functions; `locked` excludes threads as well as processes, because each call opens the file anew.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final

from store.errors import BadName, ConditionsIgnored, StoreDenied, StoreError, StoreFull, StoreUnavailable
from store.objects.base import Buffer

LOCK_WAIT_S: Final = 60.0  # a lock is held for two flushes at most; a minute means that its holder is stuck
_POLL_S: Final = 0.001
_POLL_MAX_S: Final = 0.02
_MOST: Final = 1 << 30  # Linux moves at most 2 GiB - 4 KiB in one call

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # EFBIG: `ulimit -f`, or FAT's 4 GiB
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNFIT: Final = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY})
_LOCKLESS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def translate(error: OSError, *, key: str, root: str) -> StoreError:
    """Return the store's error for a system's error met at `key` below `root`."""
    why = error.strerror or type(error).__name__
    if error.errno in FULL:
        return StoreFull(root, free_bytes(root))
    if error.errno in _DENIED:
        cure = "give this user the right to it, and see that its disk is not mounted read-only"
        return StoreDenied(root, f"{why} ({error.filename or key})", cure=cure)
    if error.errno in _UNFIT:
        return BadName(key, f"a folder cannot hold an object of this key beside those there are: {why}")
    return StoreUnavailable(root, f"{why} ({error.filename or key})")


def free_bytes(path: str) -> int | None:
    """Return how many bytes this user may still write to the file system of `path`; `None` where nobody can tell."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def read_range(descriptor: int, start: int, end: int) -> bytes:
    """Return the bytes from `start` to `end` of an open file, without moving its position; fewer if it ends before.

    Raises:
        OSError: as the system says.
    """
    if start >= end:
        return b""
    first = os.pread(descriptor, min(end - start, _MOST), start)
    if len(first) == end - start:
        return first  # the usual case: no copy
    whole = bytearray(first)
    while start + len(whole) < end and (
        more := os.pread(descriptor, min(end - start - len(whole), _MOST), start + len(whole))
    ):
        whole += more
    return bytes(whole)


def write_file(path: str, data: Buffer) -> None:
    """Write a new file and flush it to the disk.

    Raises:
        OSError: as the system says; the file may then be there in part.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest[:_MOST]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: str) -> None:
    """Flush a folder's entries to the disk.

    Raises:
        OSError: as the system says.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: str, root: str) -> Iterator[None]:
    """Hold the lock file `path`, exclusively, across threads and processes.

    `flock`, not POSIX locks: those belong to a process, and closing any descriptor of the file would drop them.
    Asked for again and again instead of waited for, so that a stuck holder becomes an error.

    Raises:
        StoreUnavailable: not free within `LOCK_WAIT_S`.
        ConditionsIgnored: the file system has no locks.
        OSError: as the system says.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, root)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, root: str) -> None:
    until = time.monotonic() + LOCK_WAIT_S
    pause_s = _POLL_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise StoreUnavailable(root, f"another process holds a lock for over {LOCK_WAIT_S:.0f} s") from None
        except OSError as error:
            if error.errno in _LOCKLESS:
                raise ConditionsIgnored(root, f"its file system has no locks: {error.strerror}") from error
            raise
        else:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _POLL_MAX_S)
