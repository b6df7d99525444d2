"""Chunks come verified, once per request, and one bad place never spoils another."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.blocks import GAP, PARALLEL, BlockReader, runs
from store.digest import PackId
from store.errors import BlockCorrupt, ObjectMissing, StoreUnavailable
from store.layout import pack_key
from store.objects.memory import MemoryStore
from store.pack import Block
from tests.support.manifests import block_of, stored_pack

CHUNKS = [bytes([n]) * (1000 + n) for n in range(20)]


class Watched(MemoryStore):
    """Counts requests; `during` runs inside each."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int | None]] = []
        self.during: Callable[[], None] = lambda: None

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        self.asked.append((key, offset, size))
        self.during()
        return super().get(key, offset=offset, size=size)


@pytest.fixture
def objects() -> Watched:
    return Watched()


@pytest.fixture
def reader(objects: Watched) -> Iterator[BlockReader]:
    reader = BlockReader(objects, 1 << 20)
    yield reader
    reader.close()


def flip(objects: MemoryStore, block: Block, bit: int = 0) -> None:
    key = pack_key(block.pack.hex())
    data = bytearray(objects.get(key))
    data[block.offset + bit // 8] ^= 1 << bit % 8
    objects.put(key, data)


def test_blocks_that_lie_together_come_by_one_request_in_the_order_asked_for(
    objects: Watched, reader: BlockReader
) -> None:
    blocks = stored_pack(objects, CHUNKS)
    assert reader.load([*reversed(blocks), blocks[3]]) == [*reversed(CHUNKS), CHUNKS[3]]
    assert len(objects.asked) == 1


def test_what_is_in_memory_is_not_asked_for(objects: Watched, reader: BlockReader) -> None:
    blocks = stored_pack(objects, CHUNKS)
    reader.load(blocks)
    objects.asked.clear()
    assert reader.load(blocks) == CHUNKS
    assert [reader.warm(block.digest) for block in blocks] == CHUNKS
    assert objects.asked == []


def test_nothing_is_loaded_for_no_blocks(objects: Watched, reader: BlockReader) -> None:
    assert reader.load([]) == []
    assert objects.asked == []


def test_with_any_bit_flipped_a_block_is_corrupt_or_still_means_the_same(objects: Watched) -> None:
    chunk = b"some text that is long enough, long enough, long enough" * 3
    (block,) = stored_pack(objects, [chunk])
    served = 0
    for bit in range(block.stored * 8):
        flip(objects, block, bit)
        reader = BlockReader(objects, 1 << 20)
        try:
            assert reader.load([block]) == [chunk]  # zstd has a bit or two that mean nothing
            served += 1
        except BlockCorrupt:
            assert reader.warm(block.digest) is None
        reader.close()
        flip(objects, block, bit)
    assert served < 4


def test_every_flipped_bit_of_a_plain_block_is_noticed(objects: Watched, reader: BlockReader) -> None:
    (block,) = stored_pack(objects, [bytes(range(200))])
    assert block.coding == 0
    for bit in range(block.stored * 8):
        flip(objects, block, bit)
        with pytest.raises(BlockCorrupt):
            reader.load([block])
        flip(objects, block, bit)
    assert reader.load([block]) == [bytes(range(200))]


def test_a_damaged_block_spoils_no_other_block_of_its_request(objects: Watched, reader: BlockReader) -> None:
    blocks = stored_pack(objects, CHUNKS)
    flip(objects, blocks[5])
    with pytest.raises(BlockCorrupt) as caught:
        reader.load(blocks)
    assert caught.value.expected == blocks[5].digest
    assert [reader.warm(block.digest) is None for block in blocks] == [n == 5 for n in range(20)]


def test_a_pack_cut_short_is_corrupt(objects: Watched, reader: BlockReader) -> None:
    blocks = stored_pack(objects, CHUNKS)
    key = pack_key(blocks[0].pack.hex())
    objects.put(key, objects.get(key)[: blocks[10].offset + 3])
    with pytest.raises(BlockCorrupt):
        reader.load(blocks)
    assert reader.load(blocks[:10]) == CHUNKS[:10]
    with pytest.raises(BlockCorrupt):
        reader.load(blocks[11:])


def test_a_chunk_of_another_length_than_a_block_claims_is_corrupt_though_it_is_in_memory(
    objects: Watched, reader: BlockReader
) -> None:
    (block,) = stored_pack(objects, [b"x" * 500])
    reader.load([block])
    with pytest.raises(BlockCorrupt):
        reader.load([block._replace(plain=501)])


def test_a_block_that_claims_more_than_it_unpacks_to_is_corrupt(objects: Watched, reader: BlockReader) -> None:
    (block,) = stored_pack(objects, [b"x" * 500])
    for plain in (0, 499, 501, 8 << 20):
        with pytest.raises(BlockCorrupt):
            reader.load([block._replace(plain=plain)])


@pytest.mark.parametrize("coding", [0, 3, 4, 255])
def test_a_block_of_another_coding_is_corrupt(objects: Watched, reader: BlockReader, coding: int) -> None:
    (block,) = stored_pack(objects, [b"abcd" * 500])
    with pytest.raises(BlockCorrupt):
        reader.load([block._replace(coding=coding)])


def test_who_asks_while_a_block_is_fetched_waits_for_that_request(objects: Watched, reader: BlockReader) -> None:
    blocks = stored_pack(objects, CHUNKS)
    begun, go_on = threading.Event(), threading.Event()

    def during() -> None:
        begun.set()
        assert go_on.wait(30)

    objects.during = during
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(reader.load, blocks)
        assert begun.wait(30)
        others = [pool.submit(reader.load, blocks[n:]) for n in range(3)]
        go_on.set()
        assert first.result(30) == CHUNKS
        assert [other.result(30) for other in others] == [CHUNKS[n:] for n in range(3)]
    assert len(objects.asked) == 1


def test_who_knows_a_chunk_at_a_good_place_does_not_share_the_failure_of_a_bad_one(
    objects: Watched, reader: BlockReader
) -> None:
    (good,) = stored_pack(objects, [CHUNKS[0]])
    bad = good._replace(pack=PackId(b"q" * 16))
    begun, go_on = threading.Event(), threading.Event()

    def during() -> None:
        if objects.asked[-1][0] == pack_key(bad.pack.hex()):
            begun.set()
            assert go_on.wait(30)

    objects.during = during
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(reader.load, [bad])
        assert begun.wait(30)
        assert reader.load([good]) == [CHUNKS[0]]
        go_on.set()
        with pytest.raises(ObjectMissing):
            failing.result(30)


def test_a_failure_reaches_everybody_who_waits_and_is_not_remembered(objects: Watched, reader: BlockReader) -> None:
    blocks = stored_pack(objects, CHUNKS)

    def fail() -> None:
        raise StoreUnavailable("memory:", "told to fail")

    objects.during = fail
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            reader.load(blocks)
    objects.during = lambda: None
    assert reader.load(blocks) == CHUNKS


def test_a_reader_that_is_closed_leaves_nobody_waiting(objects: Watched) -> None:
    reader = BlockReader(objects, 1 << 20)
    packs = [stored_pack(objects, [bytes([n]) * 100])[0] for n in range(60)]
    begun, go_on = threading.Event(), threading.Event()

    def during() -> None:
        if len(objects.asked) > PARALLEL:  # every thread of the reader, and the caller's own
            begun.set()
        assert go_on.wait(30)

    objects.during = during
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(reader.load, packs)
        assert begun.wait(30)
        reader.close()
        go_on.set()
        with pytest.raises(StoreUnavailable):
            loading.result(30)
    objects.during = lambda: None
    assert len(reader.load(packs)) == 60  # slowly, but it answers


def test_damage_in_a_cache_below_is_dropped_and_fetched_once_more(objects: Watched) -> None:
    blocks = stored_pack(objects, CHUNKS)
    flip(objects, blocks[2])
    dropped: list[tuple[str, int, int]] = []

    def forget(key: str, offset: int, size: int) -> None:
        dropped.append((key, offset, size))
        flip(objects, blocks[2])

    reader = BlockReader(objects, 1 << 20, forget=forget)
    try:
        assert reader.load(blocks) == CHUNKS
    finally:
        reader.close()
    assert dropped == [(pack_key(blocks[2].pack.hex()), blocks[2].offset, blocks[2].stored)]


# Runs


def at(offset: int, size: int = 100, pack: bytes = b"p" * 16) -> Block:
    return block_of(bytes(size) + offset.to_bytes(8, "big"), pack=PackId(pack), offset=offset)


def test_runs_go_over_small_gaps_and_no_large_ones() -> None:
    first = at(64)
    end = first.offset + first.stored
    assert runs([first, at(end + GAP)]) == [[first, at(end + GAP)]]
    assert runs([first, at(end + GAP + 1)]) == [[first], [at(end + GAP + 1)]]


def test_runs_never_mix_packs() -> None:
    blocks = [at(64, pack=b"a" * 16), at(172, pack=b"b" * 16)]
    assert runs(blocks) == [[blocks[0]], [blocks[1]]]


def test_runs_end_at_the_limit_but_a_single_block_may_be_longer() -> None:
    blocks = [at(64, 992), at(1064, 992), at(2064, 5000)]
    assert runs(blocks, limit=2000) == [blocks[:2], blocks[2:]]


def test_runs_of_blocks_that_overlap_cover_them_all() -> None:
    blocks = [at(64, 4992), at(100, 10), at(5000, 10)]
    assert runs(blocks) == [blocks]
