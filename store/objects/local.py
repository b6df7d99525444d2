"""An object store in a folder: the embedded default. The folder's layout is the bucket's, key by key.

    <root>/<key>      the objects
    <root>/.tmp/      files being written; those that a crash left are removed when a day old
    <root>/.lock/     256 empty files, locked by writers of the keys that hash to them; never removed

A write goes to `.tmp`, is flushed to the disk, renamed to its place, and the folder flushed: a crash at any point
leaves the old object or the new one, whole. Replacing, comparing and removing happen under `flock` on the key's lock
file, which holds between processes and between threads, and which the system lets go when its holder dies.

ETags are digests of the content, so equal content has an equal ETag; whoever compares and sets counts its writes in the
object. Those of a listing are made of size, time and inode instead, because a listing reads no file.

Threads: every method may be called from any thread, of any number of processes.
"""

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blake3 import blake3

from store.errors import (
    BadAddress,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreMissing,
    StoreUnavailable,
)
from store.objects.base import Buffer, Fetched, ObjectInfo, check_fetched
from store.objects.keys import check_key, check_prefix, check_range
from store.objects.local_files import flush_folder, locked, read_range, translate, write_file

ABANDONED_S: Final = 24 * 3600  # no single write takes a day
SWEEP_LIMIT: Final = 10_000  # temporary files looked at, so that the first write never takes long
SETTLED_LIMIT: Final = 65_536  # folders remembered as durable; some hundred bytes each
_PIECE: Final = 1 << 20


class FolderStore:
    """Objects as files below one folder."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        """Use the folder `root`.

        Args:
            root: where objects lie; made absolute.
            create: make it, and the folders above it, if it is not there.

        Raises:
            StoreMissing: not there, and not to be made.
            BadAddress: something else than a folder is there.
            StoreDenied, StoreFull, StoreUnavailable: it cannot be made.
        """
        self._root = os.path.abspath(root)
        self._tmp = os.path.join(self._root, ".tmp")
        self._locks = os.path.join(self._root, ".lock")
        self._settled: set[str] = set()
        self._settled_lock = threading.Lock()
        self._swept = False
        self._closed = False
        if os.path.exists(self._root) and not os.path.isdir(self._root):
            raise BadAddress(self._root, "it is not a folder")
        if create:
            with self._errors_of(""):
                os.makedirs(self._root, exist_ok=True)
        if not os.path.isdir(self._root):
            raise StoreMissing(self._root)

    @property
    def address(self) -> str:
        """The folder's absolute path."""
        return self._root

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        check_range(key, offset, size)
        with self._opened(key) as (descriptor, status):
            end = status.st_size if size is None else min(status.st_size, offset + size)
            return read_range(descriptor, offset, end)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        check_range(key, 0, size)
        with self._opened(key) as (descriptor, status):
            return read_range(descriptor, max(0, status.st_size - size), status.st_size), status.st_size

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        with self._opened(key) as (descriptor, status):
            check_fetched(key, status.st_size)
            data = read_range(descriptor, 0, status.st_size)
        etag = etag_of(data)
        return None if etag == unless else Fetched(data, etag)

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`. Reads it, in pieces of 1 MiB, for its ETag."""
        hasher = blake3()
        with self._opened(key) as (descriptor, status):
            for start in range(0, status.st_size, _PIECE):
                hasher.update(read_range(descriptor, start, min(start + _PIECE, status.st_size)))
        return ObjectInfo(key, status.st_size, hasher.hexdigest(length=16), status.st_mtime_ns)

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        path = self._path(key)
        with self._errors_of(key), self._written(data) as temporary, self._locked(key):
            self._rename(temporary, path)
            flush_folder(os.path.dirname(path))
        return etag_of(data)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`.

        Raises:
            PreconditionFailed: see there.
            OutcomeUnknown: it is in its place, but the disk did not confirm it.
        """
        path = self._path(key)
        with self._errors_of(key), self._written(data) as temporary, self._locked(key):
            if self._etag_at(key) != match:
                raise PreconditionFailed(key)
            self._rename(temporary, path)
            try:
                flush_folder(os.path.dirname(path))
            except OSError as error:
                raise OutcomeUnknown(key, f"flushing its folder: {error.strerror}") from error
        return etag_of(data)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`. Folders that become empty stay."""
        path = self._path(key)
        with self._errors_of(key), self._locked(key):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                return
            flush_folder(os.path.dirname(path))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix, folder by folder; see `ObjectStore.list`. Holds one folder's scan open."""
        check_prefix(prefix)
        self._check_open()
        pending = [prefix.rpartition("/")[0]]
        while pending:
            folder = pending.pop()
            with self._errors_of(folder), self._scanned(folder) as entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if key.startswith(".") or not key.isascii():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if _may_hold(f"{key}/", prefix, after):
                            pending.append(key)
                    elif key.startswith(prefix) and key > after and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):
                            yield _listed(key, entry.stat(follow_symlinks=False))

    def now_ns(self) -> int:
        """Tell this machine's clock."""
        return time.time_ns()

    def close(self) -> None:
        """Refuse calls from now on; nothing is held open between calls."""
        self._closed = True

    # Paths and errors

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(self._root, "it was closed")

    def _path(self, key: str) -> str:
        self._check_open()
        return f"{self._root}/{check_key(key)}"

    @contextlib.contextmanager
    def _errors_of(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate(error, key=key, root=self._root) from error

    # Reading

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        """Open an object's file; what was opened stays whole, whatever replaces it meanwhile."""
        path = self._path(key)
        with self._errors_of(key):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                raise self._missing(key) from None
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise self._missing(key)
                yield descriptor, status
            finally:
                os.close(descriptor)

    def _missing(self, key: str) -> ObjectMissing | StoreMissing:
        return ObjectMissing(key, self._root) if os.path.isdir(self._root) else StoreMissing(self._root)

    def _etag_at(self, key: str) -> str | None:
        try:
            return self.head(key).etag
        except ObjectMissing:
            return None

    @contextlib.contextmanager
    def _scanned(self, folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        try:
            entries = os.scandir(f"{self._root}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self._root):
                raise StoreMissing(self._root) from None
            yield iter(())
            return
        with entries:
            yield entries

    # Writing

    @contextlib.contextmanager
    def _written(self, data: Buffer) -> Iterator[str]:
        """Write a temporary file, durably; it is removed at the end if it was not renamed."""
        self._settle(self._tmp)
        if not self._swept:
            self._swept = True
            self._sweep()
        temporary = f"{self._tmp}/{os.getpid()}-{secrets.token_hex(8)}"
        try:
            try:
                write_file(temporary, data)
            except FileNotFoundError:  # somebody tidied `.tmp` away
                self._unsettle()
                self._settle(self._tmp)
                write_file(temporary, data)
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def _sweep(self) -> None:
        oldest_ns = time.time_ns() - ABANDONED_S * 1_000_000_000
        with os.scandir(self._tmp) as entries:
            for _, entry in zip(range(SWEEP_LIMIT), entries, strict=False):
                # Another process may sweep too, and another user's file is that user's to remove.
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    if entry.stat(follow_symlinks=False).st_mtime_ns < oldest_ns:
                        os.unlink(entry.path)

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        self._settle(self._locks)
        with locked(f"{self._locks}/{blake3(key.encode()).hexdigest(length=1)}", self._root):
            yield

    def _rename(self, temporary: str, path: str) -> None:
        folder = os.path.dirname(path)
        self._settle(folder)
        try:
            os.replace(temporary, path)
        except FileNotFoundError:  # the folder was removed since it was settled
            self._unsettle()
            self._settle(folder)
            os.replace(temporary, path)

    def _settle(self, folder: str) -> None:
        """Make a folder below the root, and make sure that its own entry and those above are on the disk.

        A folder that is there already may be another process's, which died before it flushed: so each is flushed once.
        """
        if folder == self._root:
            if not os.path.isdir(self._root):
                raise StoreMissing(self._root)
            return
        with self._settled_lock:
            if folder in self._settled:
                return
        above = os.path.dirname(folder)
        self._settle(above)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        flush_folder(above)
        with self._settled_lock:
            if len(self._settled) >= SETTLED_LIMIT:
                self._settled.clear()
            self._settled.add(folder)

    def _unsettle(self) -> None:
        with self._settled_lock:
            self._settled.clear()


def etag_of(data: Buffer) -> str:
    """Return the ETag of an object of these bytes: 32 hex digits of BLAKE3."""
    return blake3(data).hexdigest(length=16)


def _listed(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"listed-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, etag, status.st_mtime_ns)


def _may_hold(folder: str, prefix: str, after: str) -> bool:
    """Tell whether keys below `folder` (with its `/`) can begin with `prefix` and sort after `after`."""
    fits = folder.startswith(prefix) or prefix.startswith(folder)
    return fits and (folder > after or after.startswith(folder))
