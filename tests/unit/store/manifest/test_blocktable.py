"""Blocks in columns are found again, by digest and by row, whatever their number; what is forgotten is not."""

import threading

from store.digest import Digest, PackId, chunk_digest
from store.manifest.blocktable import BlockTable
from store.pack import Block

PACKS = [PackId(bytes([number]) * 16) for number in range(3)]


def block(number: int) -> Block:
    return Block(chunk_digest(b"%d" % number), PACKS[number % 3], 64 + number, 10, 1000 + number, 1)


def test_every_block_is_found_and_others_are_not() -> None:
    table = BlockTable()
    rows = [table.add(block(number)) for number in range(5000)]
    assert rows == [*range(5000)]
    assert len(table) == 5000
    for number in range(5000):
        assert table.find(block(number).digest) == number
        assert table.block(number) == block(number)
    assert not any(table.find(block(number).digest) is not None for number in range(5000, 6000))
    assert (table.plain(7), table.pack(7), table.digest(7)) == (1007, PACKS[1], block(7).digest)


def test_a_chunk_stays_where_it_was_first() -> None:
    table = BlockTable()
    assert table.add(block(0)) == table.add(block(0)._replace(pack=PACKS[2])) == 0
    assert table.pack(0) == PACKS[0]


def test_digests_that_begin_alike_are_told_apart() -> None:
    table = BlockTable()
    digests = [Digest(bytes(28) + number.to_bytes(4, "big")) for number in range(3000)]
    for digest in digests:
        table.add(block(0)._replace(digest=digest))
    assert [table.find(digest) for digest in digests] == [*range(3000)]


def test_blocks_of_forgotten_packs_are_not_found_but_keep_their_rows() -> None:
    table = BlockTable()
    for number in range(3000):
        table.add(block(number))
    table.forget([PACKS[1]])
    for number in range(3000):
        assert table.find(block(number).digest) == (None if number % 3 == 1 else number)
    assert table.block(1) == block(1)
    assert table.add(block(1)._replace(pack=PACKS[2])) == 3000
    assert table.find(block(1).digest) == 3000
    late = block(4000)
    assert late.pack == PACKS[1]
    table.add(late)
    assert table.find(late.digest) is None


def test_others_find_what_they_know_while_it_grows() -> None:
    table = BlockTable()
    for number in range(100):
        table.add(block(number))
    missed: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            missed.extend(number for number in range(100) if table.find(block(number).digest) != number)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    for number in range(100, 5000):
        table.add(block(number))
    ended.set()
    for looker in lookers:
        looker.join()
    assert missed == []
