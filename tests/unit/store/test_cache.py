"""The cache keeps to its bound, and drops what was used least recently."""

import threading

from store.cache import ByteCache

ENTRY = 1000  # with its bookkeeping, 1,200 bytes


def test_what_is_put_is_there_until_it_is_dropped() -> None:
    cache: ByteCache[str, bytes] = ByteCache(10_000)
    cache.put("a", b"1", 1)
    assert cache.get("a") == b"1"
    cache.drop("a")
    cache.drop("a")
    assert (cache.get("a"), cache.used) == (None, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteCache[int, int] = ByteCache(3 * 1200)
    for number in range(3):
        cache.put(number, number, ENTRY)
    cache.get(0)
    cache.put(3, 3, ENTRY)
    assert [cache.get(number) for number in range(4)] == [0, None, 2, 3]


def test_a_value_above_the_bound_is_not_kept_and_takes_its_old_self_along() -> None:
    cache: ByteCache[int, int] = ByteCache(2000)
    cache.put(1, 1, ENTRY)
    cache.put(2, 2, 500)
    cache.put(1, 2, 1801)
    assert (cache.get(1), cache.get(2)) == (None, 2)
    assert cache.used == 700


def test_a_value_put_again_counts_once() -> None:
    cache: ByteCache[int, int] = ByteCache(5000)
    for cost in (10, 1000, 20):
        cache.put(1, cost, cost)
    assert (cache.get(1), cache.used) == (20, 220)


def test_many_values_of_no_size_are_bounded_too() -> None:
    cache: ByteCache[int, bytes] = ByteCache(10_000)
    for number in range(1000):
        cache.put(number, b"", 0)
    assert sum(cache.get(number) is not None for number in range(1000)) == 50


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache: ByteCache[int, int] = ByteCache(0)
    cache.put(1, 1, 0)
    assert (cache.get(1), cache.used) == (None, 0)


def test_many_threads_leave_the_count_right() -> None:
    cache: ByteCache[int, int] = ByteCache(20_000)

    def work(seed: int) -> None:
        for step in range(2000):
            key = (step * seed) % 37
            cache.put(key, step, step % 900)
            cache.get((key + 1) % 37)
            if step % 5 == 0:
                cache.drop(key)
            assert cache.used <= cache.limit

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for key in range(37):
        cache.drop(key)
    assert cache.used == 0
