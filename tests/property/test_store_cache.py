"""A cache behaves like a plain table that forgets, and is never above its bound."""

from hypothesis import given
from hypothesis import strategies as st

from store.cache import ByteCache

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 9), st.integers(0, 3000)), max_size=80
)


@given(STEPS, st.integers(0, 8000))
def test_a_cache_is_a_table_that_forgets_within_its_bound(steps: list[tuple[str, int, int]], limit: int) -> None:
    cache: ByteCache[int, int] = ByteCache(limit)
    last: dict[int, int] = {}
    for number, (step, key, cost) in enumerate(steps):
        if step == "put":
            cache.put(key, number, cost)
            last[key] = number
            assert (cache.get(key) == number) == (cost + 200 <= limit)
        elif step == "drop":
            cache.drop(key)
            last.pop(key, None)
        else:
            assert cache.get(key) in (None, last.get(key))
        assert 0 <= cache.used <= limit
