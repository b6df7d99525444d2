"""What every object store must do, whatever it is made of and whatever is wrapped around it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.errors import BadName, ObjectCorrupt, ObjectMissing, PreconditionFailed, StoreUnavailable
from store.layout import dataset_key
from store.objects.base import FETCH_LIMIT, Fetched, ObjectStore
from store.objects.probe import Conditions, probe_conditions
from store.sealing.segments import sealed_size
from tests.conformance.objects.conftest import ATOMIC_PAIRS, KINDS

DATA = bytes(range(256)) * 5


def fetched(store: ObjectStore, key: str) -> Fetched:
    found = store.fetch(key)
    assert found is not None
    return found


def keys(store: ObjectStore, prefix: str = "", after: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix, after=after))


# Reading


@pytest.mark.parametrize("data", [b"", b"x", DATA, bytes(3_000_001)], ids=["empty", "one", "some", "three-megabytes"])
def test_what_was_put_is_got_back(store: ObjectStore, data: bytes) -> None:
    etag = store.put("packs/aa/one", data)
    assert store.get("packs/aa/one") == data
    assert fetched(store, "packs/aa/one") == Fetched(data, etag)
    info = store.head("packs/aa/one")
    assert (info.key, info.size, info.etag) == ("packs/aa/one", len(data), etag)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(b"__" + data + b"__")[2:-2]])
def test_every_kind_of_buffer_is_written(store: ObjectStore, wrap: Callable[[bytes], bytes]) -> None:
    store.put("a", wrap(DATA))
    store.put_if("b", wrap(DATA), match=None)
    assert store.get("a") == store.get("b") == DATA


@pytest.mark.parametrize("offset", [0, 1, 255, 1279, 1280, 1281, 9999])
@pytest.mark.parametrize("size", [0, 1, 2, 1279, 1280, 1281, 9999, None])
def test_a_range_is_the_slice_of_the_whole(store: ObjectStore, offset: int, size: int | None) -> None:
    store.put("a", DATA)
    wanted = DATA[offset:] if size is None else DATA[offset : offset + size]
    assert store.get("a", offset=offset, size=size) == wanted


@pytest.mark.parametrize("size", [0, 1, 100, 1279, 1280, 1281, 9999])
def test_a_tail_is_the_end_and_the_whole_size(store: ObjectStore, size: int) -> None:
    store.put("a", DATA)
    assert store.tail("a", size) == (DATA[max(0, len(DATA) - size) :], len(DATA))


def test_an_empty_object_has_empty_ranges_and_tails(store: ObjectStore) -> None:
    store.put("a", b"")
    assert store.get("a") == b""
    assert store.get("a", offset=0, size=10) == b""
    assert store.get("a", offset=5) == b""
    assert store.tail("a", 10) == (b"", 0)
    assert store.tail("a", 0) == (b"", 0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get("gone"),
        lambda store: store.get("gone", offset=1, size=2),
        lambda store: store.get("gone", size=0),
        lambda store: store.tail("gone", 5),
        lambda store: store.tail("gone", 0),
        lambda store: store.fetch("gone"),
        lambda store: store.fetch("gone", unless='"x"'),
        lambda store: store.head("gone"),
        lambda store: store.get("fol"),
        lambda store: store.get("folder"),
        lambda store: store.get("folder/a/b"),
    ],
)
def test_an_object_that_is_not_there_is_missing_by_name(
    store: ObjectStore, ask: Callable[[ObjectStore], object]
) -> None:
    store.put("folder/a", b"1")
    with pytest.raises(ObjectMissing) as caught:
        ask(store)
    assert caught.value.key in ("gone", "fol", "folder", "folder/a/b")


def test_fetch_unless_the_same_etag_returns_nothing_until_it_changes(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    assert store.fetch("a", unless=first) is None
    second = store.put("a", b"2")
    assert store.fetch("a", unless=first) == Fetched(b"2", second)


def test_what_is_too_long_to_be_compared_and_set_is_not_fetched(
    store: ObjectStore, request: pytest.FixtureRequest
) -> None:
    limit = FETCH_LIMIT
    if "sealed" in request.node.name:
        limit = max(size for size in range(FETCH_LIMIT - 4096, FETCH_LIMIT) if sealed_size(size) <= FETCH_LIMIT)
    data = bytes(limit)
    store.put("a", data)
    assert fetched(store, "a").data == data
    store.put("a", data + b"1")
    with pytest.raises(ObjectCorrupt) as caught:
        store.fetch("a")
    assert caught.value.key == "a"
    with pytest.raises(PreconditionFailed):
        store.put_if("a", b"2", match=None)


# Writing


def test_put_replaces(store: ObjectStore) -> None:
    first = store.put("a", b"longer than the next")
    second = store.put("a", b"short")
    assert first != second
    assert store.get("a") == b"short"


@pytest.mark.parametrize("data", [b"", b"first"])
def test_create_succeeds_once_and_never_over_an_object(store: ObjectStore, data: bytes) -> None:
    etag = store.put_if("heads/a", data, match=None)
    assert fetched(store, "heads/a") == Fetched(data, etag)
    with pytest.raises(PreconditionFailed) as caught:
        store.put_if("heads/a", b"second", match=None)
    assert caught.value.key == "heads/a"
    assert store.get("heads/a") == data


def test_match_replaces_only_the_object_it_names(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put_if("a", b"2", match=first)
    with pytest.raises(PreconditionFailed):
        store.put_if("a", b"3", match=first)
    assert fetched(store, "a") == Fetched(b"2", second)
    store.put_if("a", b"3", match=fetched(store, "a").etag)
    assert store.get("a") == b"3"


def test_match_of_an_object_that_is_gone_fails_and_writes_nothing(store: ObjectStore) -> None:
    etag = store.put("a", b"1")
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.put_if("a", b"2", match=etag)
    with pytest.raises(ObjectMissing):
        store.get("a")


def test_create_after_delete_succeeds(store: ObjectStore) -> None:
    store.put_if("a", b"1", match=None)
    store.delete("a")
    store.put_if("a", b"2", match=None)
    assert store.get("a") == b"2"


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    with pytest.raises(ObjectMissing):
        store.head("a/b")
    assert keys(store) == []


def test_the_probe_finds_conditions_honoured_and_leaves_nothing(store: ObjectStore) -> None:
    assert probe_conditions(store) == Conditions(create=True, match=True, quoted=True, why="")
    assert keys(store) == []


# Listing

MAPS = [dataset_key("@geo/maps"), dataset_key("@geo/maps-2")]
NAMES = ["a", "b/1", "b/10", "b/2", "b/c/deep", "b0", "b~", *MAPS, "z"]


@pytest.fixture
def filled(store: ObjectStore) -> ObjectStore:
    for number, name in enumerate(NAMES):
        store.put(name, bytes(number))
    return store


@pytest.mark.parametrize(
    "prefix", ["", "b", "b/", "b/1", "b/c/", "b/c/deep", "datasets/", MAPS[0][:12], MAPS[0], "none", "b/3/"]
)
def test_a_listing_has_the_keys_that_begin_with_the_prefix(filled: ObjectStore, prefix: str) -> None:
    assert keys(filled, prefix) == sorted(name for name in NAMES if name.startswith(prefix))


@pytest.mark.parametrize("after", [*NAMES, "0", "b/", "b/c", "b/c/", "b/c/z", "~", "datasets/1"])
def test_a_listing_after_a_key_leaves_out_that_key_and_those_before(filled: ObjectStore, after: str) -> None:
    assert keys(filled, after=after) == sorted(name for name in NAMES if name > after)
    assert keys(filled, "b", after) == sorted(name for name in NAMES if name > after and name.startswith("b"))


def test_a_listing_tells_size_and_time(filled: ObjectStore) -> None:
    listed = {info.key: info for info in filled.list("")}
    assert [listed[name].size for name in NAMES] == list(range(len(NAMES)))
    now_ns = filled.now_ns()
    assert all(abs(info.modified_ns - now_ns) < 120_000_000_000 for info in listed.values())


def test_a_listing_can_be_left_half_way(filled: ObjectStore) -> None:
    listing = filled.list("b")
    assert next(listing).key.startswith("b")
    del listing
    filled.delete("b/1")
    assert "b/1" not in keys(filled)


def test_the_time_is_of_today_and_never_goes_back(store: ObjectStore) -> None:
    times = [store.now_ns() for _ in range(5)]
    assert times == sorted(times)
    assert abs(times[0] - time.time_ns()) < 120_000_000_000


# Keys

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "./a",
    "a/.",
    ".tmp/x",
    ".lock",
    "a b",
    "a\nb",
    "ä",
    "a\0",
    "a" * 901,
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_refused_by_every_method(store: ObjectStore, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.tail(key, 1),
        lambda: store.fetch(key),
        lambda: store.head(key),
        lambda: store.put(key, b"1"),
        lambda: store.put_if(key, b"1", match=None),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(BadName):
            call()


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "..", "a/../", ".tmp/", "ä"])
def test_a_listing_never_leaves_the_store(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(BadName):
        list(store.list(prefix))


@pytest.mark.parametrize(("offset", "size"), [(-1, None), (-1, 5), (0, -1)])
def test_a_negative_range_is_refused(store: ObjectStore, offset: int, size: int | None) -> None:
    store.put("a", DATA)
    with pytest.raises(BadName):
        store.get("a", offset=offset, size=size)


@pytest.mark.parametrize("key", ["a" * 200, dataset_key("@geo/a.b-c_d"), "x/@!~+=,;:()'", "A", "packs/aa/" + "0" * 64])
def test_odd_keys_are_kept_apart(store: ObjectStore, key: str) -> None:
    store.put(key, b"1")
    assert store.get(key) == b"1"
    assert keys(store) == [key]


# Many at once


@pytest.mark.parametrize("store", ATOMIC_PAIRS, indirect=True)
def test_threads_that_count_with_conditional_writes_lose_nothing(store: ObjectStore) -> None:
    store.put_if("counter", b"0", match=None)

    def count(times: int) -> None:
        while times:
            held = fetched(store, "counter")
            try:
                store.put_if("counter", str(int(held.data) + 1).encode(), match=held.etag)
            except PreconditionFailed:
                continue
            times -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, [5] * 4))
    assert store.get("counter") == b"20"


@pytest.mark.parametrize("store", ATOMIC_PAIRS, indirect=True)
def test_of_threads_that_create_the_same_object_one_succeeds(store: ObjectStore) -> None:
    together = threading.Barrier(6)

    def create(number: int) -> int | None:
        together.wait(30)
        try:
            store.put_if("taken", str(number).encode(), match=None)
        except PreconditionFailed:
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        winners = [number for number in pool.map(create, range(6)) if number is not None]
    assert len(winners) == 1
    assert store.get("taken") == str(winners[0]).encode()


def test_threads_write_and_read_apart_from_each_other(store: ObjectStore) -> None:
    def run(number: int) -> bool:
        data = bytes([number]) * 70_000
        store.put(f"packs/{number:02}/x", data)
        return store.get(f"packs/{number:02}/x", offset=69_990) == data[:10] and store.tail(
            f"packs/{number:02}/x", 3
        ) == (data[:3], 70_000)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(run, range(12)))
    assert len(keys(store, "packs/")) == 12


@pytest.mark.parametrize("store", ATOMIC_PAIRS, indirect=True)
def test_a_reader_sees_one_whole_object_while_it_is_replaced(store: ObjectStore) -> None:
    store.put("a", bytes(50_000))

    def replace(number: int) -> None:
        store.put("a", bytes([number]) * 50_000)

    def read(_: int) -> bool:
        data = store.get("a")
        return len(data) == 50_000 and len(set(data)) == 1

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(replace, number) for number in range(10)]
        assert all(pool.map(read, range(20)))
        for write in writes:
            write.result()


@pytest.mark.parametrize("kind", KINDS)
def test_calls_after_close_fail(open_store: Callable[[str], ObjectStore], kind: str) -> None:
    store = open_store(kind)
    store.put("a", b"1")
    store.close()
    with pytest.raises(StoreUnavailable):
        store.get("a")
    with pytest.raises(StoreUnavailable):
        store.put("a", b"2")
    with pytest.raises(StoreUnavailable):
        list(store.list(""))
