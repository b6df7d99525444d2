from concurrent.futures import ThreadPoolExecutor

import pytest

from store.errors import ObjectMissing, PreconditionFailed
from store.objects.listing import PagedListing
from store.objects.measure import METHODS, Count, Measuring
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper


def test_calls_bytes_and_failures_are_counted_by_method() -> None:
    ticks = iter(range(0, 1000, 5))
    store = Measuring(MemoryStore(), monotonic_ns=lambda: next(ticks))
    etag = store.put("a", b"12345")
    store.put_if("b", memoryview(b"123"), match=None)
    with pytest.raises(PreconditionFailed):
        store.put_if("b", b"123456789", match=None)
    store.get("a", offset=1, size=2)
    store.tail("a", 3)
    store.fetch("a")
    store.fetch("a", unless=etag)
    store.head("a")
    list(store.list(""))
    store.delete("a")
    store.now_ns()
    with pytest.raises(ObjectMissing):
        store.get("a")
    assert store.snapshot().methods == {
        "put": Count(1, 0, 0, 5, 5),
        "put_if": Count(2, 1, 0, 3, 10),
        "get": Count(2, 1, 2, 0, 10),
        "tail": Count(1, 0, 3, 0, 5),
        "fetch": Count(2, 0, 5, 0, 10),
        "head": Count(1, 0, 0, 0, 5),
        "list": Count(1, 0, 0, 0, 5),
        "delete": Count(1, 0, 0, 0, 5),
        "now_ns": Count(1, 0, 0, 0, 5),
    }
    assert store.snapshot().puts == 3
    assert store.snapshot().requests == 11
    assert (store.snapshot().bytes_in, store.snapshot().bytes_out) == (10, 8)


def test_a_snapshot_stays_as_it_was_and_can_be_subtracted() -> None:
    store = Measuring(MemoryStore())
    store.put("a", b"1")
    before = store.snapshot()
    store.put("b", b"12")
    assert before.puts == 1
    since = store.snapshot().since(before)
    assert (since.puts, since.bytes_out) == (1, 2)
    assert set(since.methods) == set(METHODS)


def test_threads_lose_no_count() -> None:
    store = Measuring(MemoryStore())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.put(f"k{number % 7}", b"12"), range(400)))
    assert (store.snapshot().puts, store.snapshot().bytes_out) == (400, 800)


def test_a_listing_in_pages_stays_one_so_that_it_can_be_resumed() -> None:
    class Paged(Wrapper):
        def list(self, prefix: str, *, after: str = "") -> PagedListing:
            return PagedListing(lambda token: ([], None))

    assert isinstance(Measuring(Paged(MemoryStore())).list(""), PagedListing)
