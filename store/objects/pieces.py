"""A folder of pieces of objects, shared by processes and bounded in bytes: the disk half of the block cache.

`diskcache` keeps the table (SQLite) and the files; this module adds what a cache beside a gateway needs: only raw
bytes (a pickled row is refused), a digest in front of every piece so that a damaged one counts as missing, a busy
table that counts as a miss, one bounded writer that drops rather than waits, and a sweep of files that a killed
process left behind.

With a key, pieces and their names are sealed (`store.sealing.pieces`), and nothing else in the folder tells what they
are: how many there are, how large and since when stays to be seen. A folder written with another key, or with none,
begins anew.

Reading never writes: the policy is least-recently-stored. Any thread.
"""

import contextlib
import io
import logging
import os
import queue
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import diskcache
from blake3 import blake3

from store.objects.base import Buffer
from store.secret import Secret

if TYPE_CHECKING:
    from store.sealing.pieces import PieceSeal

MARK: Final = 16  # bytes of digest in front of a piece
SLACK: Final = 8 << 20  # the table's own files, and what is written before the oldest goes
SMALLEST: Final = 32 << 20  # a cache below this would hold nothing but its table
QUEUE: Final = 32  # pieces waiting to be written, about a MiB each
ORPHAN_S: Final = 120.0  # a file without a row that is older than this was left by a killed process
BUSY_S: Final = 0.05
TELL_S: Final = 60.0  # between two warnings that nothing can be written
CHECK_FILE: Final = "key.check"  # tells by which key the folder's pieces are sealed; not there: by none
EMPTY_S: Final = 10.0  # to have the table to itself, once it is empty

_log = logging.getLogger(__name__)


class _RawDisk(diskcache.Disk):  # type: ignore[misc]  # the library has no types
    """Bytes under text keys, and nothing else: no row can make this process run code."""

    def put(self, key: Any) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise TypeError("only text keys")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        if not raw or not isinstance(key, str):
            raise sqlite3.DatabaseError("a key that this cache never writes")
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes or read:
            raise TypeError("only bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes:
        if mode == diskcache.core.MODE_RAW:
            return bytes(value)
        if mode != diskcache.core.MODE_BINARY or filename is None:
            raise sqlite3.DatabaseError("a row that this cache never writes")
        with open(os.path.join(self._directory, filename), "rb", buffering=0) as file:
            return file.read()

    def _write(self, full_path: str, iterator: io.BytesIO, mode: str, encoding: str | None = None) -> int:
        """Write a piece whole: the library would look for ends of lines in it, and write it line by line."""
        size: int = super()._write(full_path, iter((iterator.getvalue(),)), mode, encoding)
        return size


def _opened(folder: Path, limit: int, check: str) -> Any:
    """Open the table; one whose pieces were written with another key than `check` tells is emptied first."""
    cache = diskcache.Cache(
        os.fspath(folder),
        timeout=BUSY_S,
        disk=_RawDisk,
        size_limit=max(limit, SMALLEST) - SLACK,
        eviction_policy="least-recently-stored",
        cull_limit=0,  # the writer culls until it is enough; the library would remove a fixed number of rows
        sqlite_mmap_size=0,  # a table that is cut short under a mapping would end the process
    )
    cache.reset("size_limit", max(limit, SMALLEST) - SLACK)
    if _read_check(folder) != check:
        _empty(cache, folder, check)
    return cache


def _read_check(folder: Path) -> str:
    try:
        return (folder / CHECK_FILE).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


def _empty(cache: Any, folder: Path, check: str) -> None:
    """Remove what was written with another key, by the table: others may have the folder open, and go on."""
    if len(cache):
        _log.warning("the cache in %s was written with another key, and begins anew", folder)
    cache.clear(retry=True)
    with contextlib.closing(
        sqlite3.connect(folder / diskcache.core.DBNAME, timeout=EMPTY_S, isolation_level=None)
    ) as table:
        # What was deleted may stay in the table's files until they are written anew, and names may be among it: in the
        # log by all means, in pages where SQLite was built without SECURE_DELETE.
        table.execute("VACUUM")
        table.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # Last, so that who is killed before does it again. Several at once do it twice, and lose a few new pieces.
    if not check:
        (folder / CHECK_FILE).unlink(missing_ok=True)
        return
    coming = folder / f"{CHECK_FILE}.{os.getpid()}.{threading.get_ident()}"
    coming.write_text(check, encoding="ascii")
    os.replace(coming, folder / CHECK_FILE)


def _seal(folder: Path, key: Secret) -> "PieceSeal":
    from store.sealing.pieces import PieceSeal  # what ciphers need is imported only where they are used

    return PieceSeal(key, folder.name)


class PieceCache:
    """Pieces by key, on disk."""

    def __init__(self, folder: Path, limit: int, *, patient: bool = False, key: Secret | None = None) -> None:
        """Open or make the cache.

        Args:
            folder: where; made with mode 0700. Its name is the store's.
            limit: most bytes it may take on disk, at least SMALLEST.
            patient: `put` waits for the writer instead of dropping: for filling the cache on purpose.
            key: the local key, by which everything is sealed; `None` where the store's own key has sealed it already.

        Raises:
            OSError, sqlite3.Error: it can't be used.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._patient = folder, patient
        self._seal = _seal(folder, key) if key is not None else None
        check = self._seal.check if self._seal is not None else ""
        try:
            self._cache = _opened(folder, limit, check)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, full, not allowed: not damage
                raise
            _log.warning("the cache in %s was damaged, and begins anew: %s", folder, error)
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            self._cache = _opened(folder, limit, check)
        self._told_s = -TELL_S
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE)
        self._waiting: dict[str, bytes] = {}  # what the queue names: readers need not ask again for it
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="piece-cache", daemon=True)
        self._writer.start()

    def get(self, key: str) -> bytes | None:
        """Return a piece, or `None` where there is none, it is damaged, or the table is busy."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting
        try:
            found = self._cache.get(self._row(key), retry=False)
        except (diskcache.Timeout, sqlite3.Error, OSError):
            return None
        if found is None:
            return None
        piece = self._read(key, found)
        if piece is None:
            _log.warning("a piece of %s in the cache was damaged: dropped", key)
            self.drop(key)
            return None
        return piece

    def put(self, key: str, piece: Buffer) -> None:
        """Keep a copy of a piece soon, unless the writer is behind: then it is not kept."""
        if key in self._waiting or (self._queue.full() and not self._patient):
            return
        self._waiting[key] = bytes(piece)
        try:
            self._queue.put(key, block=self._patient)
        except queue.Full:
            self._waiting.pop(key, None)

    def holds(self, key: str) -> bool:
        """Tell whether a piece is on disk, without reading it. What is waiting to be written is not."""
        try:
            return self._row(key) in self._cache
        except (diskcache.Timeout, sqlite3.Error, OSError):
            return False

    def settle(self) -> None:
        """Wait until the writer has gone through what was waiting."""
        self._queue.join()

    def volume(self) -> int:
        """Return the bytes that the cache takes, as its table counts them."""
        return int(self._cache.volume())

    def close(self) -> None:
        """Write what is waiting, then let go."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._writer.join()
            self._cache.close()

    def drop(self, key: str) -> None:
        """Forget a piece."""
        self._waiting.pop(key, None)
        with contextlib.suppress(diskcache.Timeout, sqlite3.Error, OSError):
            self._cache.delete(self._row(key), retry=False)

    def _row(self, key: str) -> str:
        return key if self._seal is None else self._seal.row(key)

    def _read(self, key: str, found: bytes) -> bytes | None:
        if self._seal is not None:
            return self._seal.open(key, found)
        piece = found[MARK:]
        return piece if blake3(piece).digest(MARK) == found[:MARK] else None

    def _written(self, key: str, piece: bytes) -> bytes:
        return blake3(piece).digest(MARK) + piece if self._seal is None else self._seal.seal(key, piece)

    def _write(self) -> None:
        self._sweep()
        while (key := self._queue.get()) is not None:
            piece = self._waiting.get(key, b"")
            try:
                if piece and (row := self._row(key)) not in self._cache:
                    self._cache.set(row, self._written(key, piece), retry=self._patient)
                    self._cache.cull(retry=self._patient)
            except (diskcache.Timeout, sqlite3.Error):
                continue
            except OSError as error:  # a full disk: the gateway goes on without
                if time.monotonic() - self._told_s > TELL_S:
                    self._told_s = time.monotonic()
                    _log.warning("the cache in %s can't be written: %s", self._folder, error)
            finally:
                self._waiting.pop(key, None)
                self._queue.task_done()

    def _sweep(self) -> None:
        """Remove files that no row names, and hold what is really on disk against the limit."""
        try:
            rows = self._cache._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL").fetchall()
            named = {os.path.join(self._cache.directory, name) for (name,) in rows}
            old = time.time() - ORPHAN_S
            for path in self._folder.rglob("*.val"):
                with contextlib.suppress(OSError):
                    if os.fspath(path) not in named and path.stat().st_mtime < old:
                        path.unlink()
            self._cache.cull(retry=False)
        except (diskcache.Timeout, sqlite3.Error, OSError) as error:
            _log.warning("the cache in %s could not be swept: %s", self._folder, error)
