"""What the store has already is found through manifests, packs and hooks, within bounds; a miss costs only space."""

from collections.abc import Sequence

import pytest

from store.digest import Digest, PackId
from store.errors import StoreUnavailable
from store.index import hooks_of, write_segment
from store.layout import index_key, pack_key
from store.objects.memory import MemoryStore
from store.pack import Block
from store.push import known as module
from store.push.known import KnownBlocks
from tests.support.manifests import block_of, stored_pack


class Counted(MemoryStore):
    """Counts reads of footers and segments."""

    def __init__(self) -> None:
        super().__init__()
        self.tails: list[str] = []
        self.broken = False

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        self.tails.append(key)
        if self.broken:
            raise StoreUnavailable("memory:", "told to fail")
        return super().tail(key, size)


@pytest.fixture
def objects() -> Counted:
    return Counted()


def pushed(objects: MemoryStore, number: int) -> list[Block]:
    """Store a pack of 300 chunks with the index segment of its push."""
    blocks = stored_pack(objects, [b"%d/%d" % (number, chunk) for chunk in range(300)])
    write_segment(objects, "maps", [(blocks[0].pack, hooks_of(blocks))])
    return blocks


def found(known: KnownBlocks, digests: Sequence[Digest]) -> list[Block | None]:
    return [None if row is None else known.table.block(row) for row in known.find(digests)]


def digests(blocks: Sequence[Block]) -> list[Digest]:
    return [block.digest for block in blocks]


def test_one_hook_leads_to_all_blocks_of_its_pack(objects: Counted) -> None:
    blocks = pushed(objects, 1)
    known = KnownBlocks(objects)
    assert found(known, digests(blocks)) == blocks
    assert [known.table.find(digest) for digest in digests(blocks)] == [*range(300)]


def test_chunks_without_a_hook_among_them_are_not_found_at_first(objects: Counted) -> None:
    blocks = pushed(objects, 1)
    hooks = set(hooks_of(blocks))
    others = [block for block in blocks if block.digest[:8] not in hooks]
    known = KnownBlocks(objects)
    assert found(known, digests(others)) == [None] * len(others)
    known.find(digests(blocks))
    assert found(known, digests(others)) == others


def test_the_index_is_read_once_and_only_when_it_is_needed(objects: Counted) -> None:
    blocks = pushed(objects, 1)
    known = KnownBlocks(objects)
    known.add(blocks)
    known.find(digests(blocks))
    assert objects.tails == []
    strangers = [block_of(b"stranger %d" % n).digest for n in range(600)]
    known.find(strangers)
    known.find(strangers)
    assert len(objects.tails) == 1


def test_a_place_that_is_known_stays(objects: Counted) -> None:
    block = block_of(b"x")
    known = KnownBlocks(objects)
    known.add([block, block._replace(pack=PackId(b"q" * 16))])
    assert found(known, [block.digest]) == [block]


def test_a_pack_that_is_gone_or_damaged_is_only_a_miss(objects: Counted) -> None:
    gone, damaged, sound = (pushed(objects, n) for n in (1, 2, 3))
    objects.delete(pack_key(gone[0].pack.hex()))
    objects.put(pack_key(damaged[0].pack.hex()), b"nonsense")
    objects.put(index_key("00", "aa"), b"nonsense")
    known = KnownBlocks(objects)
    assert found(known, digests([*gone, *damaged, *sound])) == [None] * 600 + sound


def test_an_interrupted_push_knows_what_is_left_of_its_packs(objects: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BLOCKS", 10)
    gone, damaged, *sound = (pushed(objects, n) for n in range(5))
    objects.delete(pack_key(gone[0].pack.hex()))
    objects.put(pack_key(damaged[0].pack.hex()), b"nonsense")
    known = KnownBlocks(objects)
    known.resume([blocks[0].pack for blocks in (gone, damaged, *sound)])
    assert [found(known, digests(blocks)) for blocks in sound] == sound
    assert found(known, digests(gone)) == [None] * 300


def test_a_store_that_does_not_answer_is_told_and_asked_again(objects: Counted) -> None:
    blocks = pushed(objects, 1)
    known = KnownBlocks(objects)
    objects.broken = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            known.resume([blocks[0].pack])
    with pytest.raises(StoreUnavailable):
        known.find(digests(blocks))
    objects.broken = False
    assert found(known, digests(blocks)) == blocks


def test_no_more_is_read_and_kept_than_the_bounds_say(objects: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FOOTERS", 2)
    monkeypatch.setattr(module, "MAX_SEGMENTS", 5)
    packs = [pushed(objects, n) for n in range(8)]
    known = KnownBlocks(objects)
    for blocks in packs:
        known.find(digests(blocks))
    assert sum(key.startswith("index/") for key in objects.tails) == 5
    assert sum(key.startswith("packs/") for key in objects.tails) == 2


def test_no_more_blocks_and_hooks_are_kept_than_the_bounds_say(
    objects: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BLOCKS", 100)
    monkeypatch.setattr(module, "MAX_HOOKS", 3)
    packs = [pushed(objects, n) for n in range(8)]
    known = KnownBlocks(objects)
    for blocks in packs:
        known.find(digests(blocks))
    assert len(known.table) <= 100
    assert sum(key.startswith("packs/") for key in objects.tails) <= 3


def test_what_one_thread_learns_while_another_waits_counts_for_both(objects: Counted) -> None:
    blocks = pushed(objects, 1)
    known = KnownBlocks(objects)
    learn = known._follow

    def learned_meanwhile(missing: Sequence[Digest]) -> None:
        known.resume([blocks[0].pack])  # what another thread does while this one waits for the lock
        learn(missing)

    known._follow = learned_meanwhile  # type: ignore[method-assign, assignment]  # the moment between look and lock
    assert found(known, digests(blocks)) == blocks
