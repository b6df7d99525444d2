from store.objects.memory import MemoryStore


def test_times_come_from_the_injected_clock() -> None:
    now_ns = [1_000]
    store = MemoryStore(clock=lambda: now_ns[0])
    store.put("a", b"1")
    now_ns[0] = 2_000
    assert store.now_ns() == 2_000
    assert store.head("a").modified_ns == 1_000
    store.put("a", b"1")
    assert [info.modified_ns for info in store.list("")] == [2_000]


def test_the_same_bytes_written_again_have_another_etag() -> None:
    store = MemoryStore()
    assert store.put("a", b"1") != store.put("a", b"1")


def test_what_the_caller_changes_later_is_not_what_was_stored() -> None:
    store = MemoryStore()
    data = bytearray(b"1")
    store.put("a", data)
    data[0] = 0
    assert store.get("a") == b"1"
