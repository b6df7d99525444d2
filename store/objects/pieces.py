"""A folder of pieces of objects, shared by processes and bounded in bytes: the disk half of the block cache.

`diskcache` keeps the table (SQLite) and the files; this module adds what a cache beside a gateway needs: only raw
bytes (a pickled row is refused), proofs with every piece so that a damaged one counts as missing, reads of a range
alone (`store.objects.piece_form`), a busy table that counts as a miss, one bounded writer that drops rather than waits,
and a sweep of files that a killed process left behind.

With a key, pieces and their names are sealed (`store.sealing.pieces`), and nothing else in the folder tells what they
are: how many there are, how large and since when stays to be seen. A folder written with another key, or with none,
begins anew. Where a piece's file is, and what opens it, is remembered: the next read of it asks no table.

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
from typing import Any, Final, NamedTuple

import diskcache

from store.cache import ByteCache
from store.objects.base import Buffer
from store.objects.piece_form import PART, WHOLE, Form, Marks, Opener, open_parts, plain_size
from store.secret import Secret

SLACK: Final = 8 << 20  # the table's own files, and what is written before the oldest goes
SMALLEST: Final = 32 << 20  # a cache below this would hold nothing but its table
QUEUE: Final = 32  # pieces waiting to be written, about a MiB each
ORPHAN_S: Final = 120.0  # a file without a row that is older than this was left by a killed process
BUSY_S: Final = 0.05
TELL_S: Final = 60.0  # between two warnings that nothing can be written
CHECK_FILE: Final = "key.check"  # tells by which form, and which key, the folder's pieces are kept
EMPTY_S: Final = 10.0  # to have the table to itself, once it is empty
FOUND: Final = 8 << 20  # bytes: where some 4,000 pieces are
_FOUND_COST: Final = 1800  # bytes of one, its cipher most of all

_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_PROMPT: Final = getattr(os, "RWF_NOWAIT", 0)  # 0: only Linux can read without waiting

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

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes | str:
        """Return what a row holds: bytes, or the path of the file that has them."""
        if mode == diskcache.core.MODE_RAW:
            return bytes(value)
        if mode != diskcache.core.MODE_BINARY or filename is None:
            raise sqlite3.DatabaseError("a row that this cache never writes")
        return os.path.join(self._directory, filename)

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
    coming = folder / f"{CHECK_FILE}.{os.getpid()}.{threading.get_ident()}"
    coming.write_text(check, encoding="ascii")
    os.replace(coming, folder / CHECK_FILE)


def _form(folder: Path, key: Secret | None) -> Form:
    if key is None:
        return Marks()
    from store.sealing.pieces import PieceSeal  # what ciphers need is imported only where they are used

    return PieceSeal(key, folder.name)


class _Found(NamedTuple):
    """Where a piece is."""

    path: str
    opener: Opener
    plain: int  # bytes of the piece


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
        self._form = _form(folder, key)
        self._found: ByteCache[str, _Found] = ByteCache(FOUND)
        try:
            self._cache = _opened(folder, limit, self._form.check)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, full, not allowed: not damage
                raise
            _log.warning("the cache in %s was damaged, and begins anew: %s", folder, error)
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            self._cache = _opened(folder, limit, self._form.check)
        self._told_s = -TELL_S
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE)
        self._waiting: dict[str, bytes] = {}  # what the queue names: readers need not ask again for it
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="piece-cache", daemon=True)
        self._writer.start()

    def get(self, key: str) -> bytes | None:
        """Return a piece whole, or `None` where there is none, it is damaged, or the table is busy."""
        parts = self.parts(key, 0)
        return None if parts is None else b"".join(parts)

    def parts(self, key: str, offset: int, size: int | None = None) -> list[Buffer] | None:
        """Return a range of a piece in consecutive views, cut to its end, or `None` as `get` does.

        Only what proves the range is read, so the rest may be damaged.
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            return [memoryview(waiting)[offset : None if size is None else offset + size]]
        try:
            found = self._found.get(key)
            if found is None:
                row = self._cache.get(self._row(key), retry=False)
                if row is None:
                    return None
                parts = self._in_row(key, row, offset, size) if isinstance(row, bytes) else None
                found = self._in_file(key, row) if isinstance(row, str) else None
            if found is not None:
                parts = _read(found, self._form.head, offset, size)
        except FileNotFoundError:  # the oldest went meanwhile, or another process has emptied the folder
            self._found.drop(key)
            return None
        except (diskcache.Timeout, sqlite3.Error, OSError):
            return None
        if parts is None:
            _log.warning("a piece of %s in the cache was damaged: dropped", key)
            self.drop(key)
        return parts

    def at_hand(self, key: str, offset: int, size: int) -> list[Buffer] | None:
        """Return what `parts` does if that needs no waiting: the piece was read before, and is in the system's memory.

        `None` too where it is damaged: `parts` finds that out.
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            return [memoryview(waiting)[offset : offset + size]]
        found = self._found.get(key)
        if found is None or not _PROMPT:
            return None
        try:
            return _read(found, self._form.head, offset, size, _PROMPT)
        except OSError:  # it would have to wait, or can't tell
            return None

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
        self._found.drop(key)
        with contextlib.suppress(diskcache.Timeout, sqlite3.Error, OSError):
            self._cache.delete(self._row(key), retry=False)

    def _row(self, key: str) -> str:
        return self._form.row(key)

    def _in_row(self, key: str, kept: bytes, offset: int, size: int | None) -> list[Buffer] | None:
        """Open a range of a piece that is so small that it stands in the table itself."""
        head, plain = self._form.head, plain_size(self._form.head, len(kept))
        if plain < 0:
            return None
        parts = open_parts(self._form.opener(key, kept[:head], plain), memoryview(kept)[head:], 0, plain or 1)
        return parts and [memoryview(parts[0])[offset : None if size is None else offset + size]]

    def _in_file(self, key: str, path: str) -> _Found | None:
        """Look at a piece's file, and remember it; `None` where it is none."""
        file = os.open(path, _READ)
        try:
            head, plain = os.pread(file, self._form.head, 0), plain_size(self._form.head, os.fstat(file).st_size)
        finally:
            os.close(file)
        if plain < 0:
            return None
        found = _Found(path, self._form.opener(key, head, plain), plain)
        self._found.put(key, found, _FOUND_COST)
        return found

    def _write(self) -> None:
        self._sweep()
        while (key := self._queue.get()) is not None:
            piece = self._waiting.get(key, b"")
            try:
                if piece and (row := self._row(key)) not in self._cache:
                    self._cache.set(row, self._form.lay(key, piece), retry=self._patient)
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


def _read(found: _Found, head: int, offset: int, size: int | None, flags: int = 0) -> list[Buffer] | None:
    """Read a range of a piece's file; `None` where it is not proved.

    Raises:
        OSError: it can't be read; of `flags`, `RWF_NOWAIT` has it raise BlockingIOError rather than wait for the disk.
    """
    end = found.plain if size is None else min(found.plain, offset + size)
    if offset >= end:
        return []
    first, last = offset // PART, (end - 1) // PART
    file = os.open(found.path, _READ)
    try:
        if flags:
            kept: Buffer = bytearray((last + 1 - first) * WHOLE)
            kept = memoryview(kept)[: os.preadv(file, [kept], head + first * WHOLE, flags)]
        else:
            kept = os.pread(file, (last + 1 - first) * WHOLE, head + first * WHOLE)
    finally:
        os.close(file)
    return open_parts(found.opener, kept, offset, end)
