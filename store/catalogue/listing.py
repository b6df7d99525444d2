"""Which datasets there are: the names below `datasets/`, streamed.

A store of up to 1,000 heads is listed by one request. A larger one is listed prefix by prefix, several at a time: the
pages of one listing can only be asked for one after another, which for 100,000 heads takes ten seconds on S3. Memory is
bounded by what a few prefixes hold. No head is read.

One thread a listing; it starts others, which are gone when it ends. docs/format.md, Dataset heads.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from store.catalogue.head import looks_deleted
from store.catalogue.refs import is_dataset
from store.layout import DATASETS, dataset_key, dataset_of_key, name_prefix
from store.objects.base import ObjectInfo, ObjectStore

FEW: Final = 1000  # heads; one page of an S3 listing
PREFIXES: Final = tuple(f"{number:02x}" for number in range(256))
AT_ONCE: Final = 16  # prefixes


class Listed(NamedTuple):
    """A head, as a listing shows it."""

    name: str
    modified_ns: int
    deleted: bool


def listed(objects: ObjectStore) -> Iterator[Listed]:
    """Yield all heads, in no particular order, possibly a moment old."""
    few = list(itertools.islice(objects.list(DATASETS), FEW + 1))
    if len(few) <= FEW:
        yield from _heads(few)
        return
    for _, found in below(objects, PREFIXES):
        yield from found


def in_order(objects: ObjectStore, *, after: str = "") -> Iterator[Listed]:
    """Yield the heads in the order of their keys, from behind the one of the dataset `after` on: for pages of a list.

    Nothing that lies before it is looked at, but for the heads of the same prefix, where there are many.
    """
    few = list(itertools.islice(objects.list(DATASETS), FEW + 1))
    groups: Iterable[list[Listed]] = [list(_heads(few))]
    if len(few) > FEW:
        prefixes = PREFIXES[PREFIXES.index(name_prefix(after)) :] if after else PREFIXES
        groups = (found for _, found in below(objects, prefixes))
    behind = dataset_key(after) if after else ""
    for group in groups:
        keyed = sorted((dataset_key(found.name), found) for found in group)
        yield from (found for key, found in keyed if key > behind)


def below(objects: ObjectStore, prefixes: Sequence[str]) -> Iterator[tuple[str, list[Listed]]]:
    """Yield (prefix, its heads) for some of `PREFIXES`, in their order."""
    with contextlib.ExitStack() as at_end:
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="listing")
        at_end.callback(pool.shutdown, cancel_futures=True)
        ahead: deque[tuple[str, Future[list[Listed]]]] = deque()
        for prefix in prefixes:
            ahead.append((prefix, pool.submit(_below, objects, prefix)))
            if len(ahead) == AT_ONCE:
                first, found = ahead.popleft()
                yield first, found.result()
        for prefix, found in ahead:
            yield prefix, found.result()


def _below(objects: ObjectStore, prefix: str) -> list[Listed]:
    return list(_heads(objects.list(f"{DATASETS}{prefix}/")))


def _heads(infos: Iterable[ObjectInfo]) -> Iterator[Listed]:
    for info in infos:
        name = dataset_of_key(info.key)
        if name is not None and is_dataset(name):
            yield Listed(name, info.modified_ns, looks_deleted(info.size))
