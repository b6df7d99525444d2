"""A local disk cache in front of an object store: keeps what never changes, in pieces as they are stored.

The unit is a slice of PIECE bytes of a pack or manifest, at multiples of PIECE: versions share packs, small files
fill a piece together, an encrypted store's cache is sealed as it is, and a range needs no table to find its pieces
(docs/decisions/0004-cache-pieces.md). Missing neighbours are fetched by one request, and two callers who want one
piece share it. Everything else passes through. Any thread.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Final

from store.cache import ByteCache
from store.layout import MANIFESTS, PACKS
from store.objects.base import Buffer, ObjectStore
from store.objects.pieces import PieceCache
from store.objects.wrapper import Wrapper

PIECE: Final = 1 << 20
REQUEST: Final = 10  # most pieces of one request
RECENT: Final = 16 * (PIECE + 1000)  # bytes: pieces that came last, of which more is likely to be asked for next


class CachedObjects(Wrapper):
    """Packs and manifests through a cache on disk."""

    def __init__(self, inner: ObjectStore, cache: PieceCache) -> None:
        super().__init__(inner)
        self._cache = cache
        self._flights: dict[str, Future[memoryview]] = {}
        self._lock = Lock()
        self._recent: ByteCache[str, memoryview] = ByteCache(RECENT)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range; see `ObjectStore.get`."""
        if size is None or not key.startswith((PACKS, MANIFESTS)):
            return self._inner.get(key, offset=offset, size=size)
        ranges = list(_ranges(offset, max(size, 1)))
        found = {number: self._known(key, number, at, length) for number, at, length in ranges}
        missing = [number for number, parts in found.items() if parts is None]
        if missing:
            came = self._pieces(key, missing)
            found.update((number, [came[number][at : at + length]]) for number, at, length in ranges if number in came)
        parts = [part for number, _, _ in ranges for part in found[number] or ()]
        if not size:
            return b""
        return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)

    def at_hand(self, key: str, offset: int, size: int) -> Buffer | None:
        """Return a range if all of it is on this machine and takes no waiting."""
        parts: list[Buffer] = []
        for number, at, length in _ranges(offset, size):
            name = _name(key, number)
            piece = self._recent.get(name)
            found = self._cache.at_hand(name, at, length) if piece is None else [piece[at : at + length]]
            if found is None:
                return None
            parts += found
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end; see `ObjectStore.tail`. A manifest's is kept, with the object's size in front."""
        if not key.startswith(MANIFESTS):
            return self._inner.tail(key, size)
        found = self._cache.get(_tail(key))
        if found is not None and found[:8] == size.to_bytes(8, "little"):
            return found[16:], int.from_bytes(found[8:16], "little")
        data, whole = self._inner.tail(key, size)
        self._cache.put(_tail(key), size.to_bytes(8, "little") + whole.to_bytes(8, "little") + data)
        return data, whole

    def forget(self, key: str, offset: int, size: int) -> None:
        """Drop what is kept of a range that turned out to be damaged: it may have been so when it came."""
        for number in range(offset // PIECE, (offset + max(size, 1) - 1) // PIECE + 1):
            self._recent.drop(_name(key, number))
            self._cache.drop(_name(key, number))
        if key.startswith(MANIFESTS):
            self._cache.drop(_tail(key))

    def kept(self, key: str, offset: int, size: int) -> bool:
        """Tell whether a range is on disk whole, without reading it."""
        last = (offset + max(size, 1) - 1) // PIECE
        return all(self._cache.holds(_name(key, number)) for number in range(offset // PIECE, last + 1))

    def close(self) -> None:
        """Close the cache and the inner store."""
        self._cache.close()
        super().close()

    def _known(self, key: str, number: int, at: int, size: int) -> list[Buffer] | None:
        """Return a range of a piece that is here."""
        name = _name(key, number)
        piece = self._recent.get(name)
        return self._cache.parts(name, at, size) if piece is None else [piece[at : at + size]]

    def _pieces(self, key: str, missing: Sequence[int]) -> dict[int, memoryview]:
        """Fetch whole pieces, or wait for who fetches them already."""
        waiting, mine = self._claim(key, missing)
        for run in _runs([number for number in mine if not self._landed_meanwhile(key, number)]):
            self._fly(key, run)
        return {number: flight.result() for number, flight in waiting.items()}

    def _claim(self, key: str, missing: Sequence[int]) -> tuple[dict[int, Future[memoryview]], list[int]]:
        waiting: dict[int, Future[memoryview]] = {}
        mine = []
        with self._lock:
            for number in missing:
                name = _name(key, number)
                flight = self._flights.get(name)
                if flight is None:
                    flight = self._flights[name] = Future()
                    mine.append(number)
                waiting[number] = flight
        return waiting, mine

    def _landed_meanwhile(self, key: str, number: int) -> bool:
        """Look once more: another caller's flight may have ended between the first look and the claim."""
        parts = self._known(key, number, 0, PIECE)
        if parts is not None:
            self._land(key, number).set_result(memoryview(b"".join(parts)))
        return parts is not None

    def _fly(self, key: str, run: Sequence[int]) -> None:
        try:
            data = memoryview(self._inner.get(key, offset=run[0] * PIECE, size=len(run) * PIECE))
        except BaseException as error:
            for number in run:
                self._land(key, number).set_exception(error)
            # Whoever waits is told by the flight; this caller too, unless it wants none of these pieces any more.
            return
        for index, number in enumerate(run):
            piece = data[index * PIECE : (index + 1) * PIECE]
            if piece:
                self._cache.put(_name(key, number), piece)
            if piece and number == run[-1]:  # where the next range begins, most likely; the cache may not take it
                self._recent.put(_name(key, number), memoryview(bytes(piece)), len(piece))
            self._land(key, number).set_result(piece)

    def _land(self, key: str, number: int) -> Future[memoryview]:
        with self._lock:
            return self._flights.pop(_name(key, number))


def _ranges(offset: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, first byte in it, how many) of each piece in which a part of a range lies."""
    end = offset + size
    for number in range(offset // PIECE, (end - 1) // PIECE + 1):
        start = max(offset - number * PIECE, 0)
        yield number, start, min(end - number * PIECE, PIECE) - start


def _name(key: str, number: int) -> str:
    return f"{key}:{number}"


def _tail(key: str) -> str:
    return f"{key}:tail"


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number and len(runs[-1]) < REQUEST:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
