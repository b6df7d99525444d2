"""The newest generation of each dataset's head that was seen here, so that an older one is not taken for the newest.

Kept for encrypted stores alone: who may write to the bucket, but has no key, can still put back what stood there. A
SQLite table in the user's state folder, shared by processes; names are keyed digests. What it says only grows. Where it
can't be used, nothing is remembered beyond this process, which is said once. Any thread.
"""

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

from blake3 import blake3

from store.errors import Replayed

BUSY_S: Final = 2.0
REMEMBERED: Final = 65_536  # names in memory

_log = logging.getLogger(__name__)


class SeenHeads:
    """What was seen of one store."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Use a file.

        Args:
            path: of the file; made if it is not there.
            key: 32 bytes of the store's, for the digests of names.
        """
        self._path, self._key = path, key
        self._known: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._told = False

    def __call__(self, name: str, seq: int) -> None:
        """Note the generation of a head that was read; 0: there is none.

        Raises:
            Replayed: a later one was seen before.
        """
        digest = blake3(name.encode(), key=self._key).digest()
        with self._lock:
            known = self._known.get(digest, -1)
            if seq == known:
                return
            newest = max(known, self._noted(digest, seq))
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[digest] = newest
        if seq < newest:
            raise Replayed(f"the head of dataset {name!r}", seq, newest)

    def _noted(self, digest: bytes, seq: int) -> int:
        """Note it in the file, if it is news; return the newest one there. A file that can't be written is read."""
        newest = seq
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._path, timeout=BUSY_S)) as table:
                known = _read(table, digest)
                newest = max(seq, known)
                if newest > known:
                    _write(table, digest, seq)
        except (sqlite3.OperationalError, OSError) as error:  # busy, full, not allowed
            self._tell(f"it can't be kept in {self._path}: {error}")
        except sqlite3.DatabaseError as error:
            self._tell(f"{self._path} is damaged, and begins anew: {error}")
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        return newest

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            _log.warning("an older state of a dataset that is put back may not be noticed here: %s", why)


def _read(table: sqlite3.Connection, digest: bytes) -> int:
    if table.execute("SELECT 1 FROM sqlite_master WHERE name = 'seen'").fetchone() is None:
        return 0
    found = table.execute("SELECT seq FROM seen WHERE name = ?", (digest,)).fetchone()
    return int(found[0]) if found else 0


def _write(table: sqlite3.Connection, digest: bytes, seq: int) -> None:
    with table:
        table.execute("CREATE TABLE IF NOT EXISTS seen (name BLOB PRIMARY KEY, seq INTEGER) WITHOUT ROWID")
        table.execute(
            "INSERT INTO seen VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
            (digest, seq),
        )
