"""The bytes of packs, index segments and manifests, pinned; every bit of them counts."""

import random

import pytest
from blake3 import blake3

from store.cache import ByteCache
from store.codec import Coding
from store.digest import PackId, chunk_digest
from store.errors import Corrupt, FeatureMissing, ObjectCorrupt, ObjectMissing, StoreError
from store.frame import COVERED, HEADER, INDEX_MAGIC, PACK_MAGIC, TRAILER, header, read_table, table_and_trailer
from store.index import hooks_of, read_segment, write_segment
from store.layout import index_key, manifest_key, name_prefix, pack_key
from store.manifest.view import Manifest, open_manifest
from store.objects.memory import MemoryStore
from store.pack import ROW, PackBuilder, read_footer
from tests.support.manifests import block_of, build, item_of, pack_of
from tests.support.trees import File, Link

PACK_HEX = (
    "4146504b01004000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000068656c6c6f0a01000000000000008e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fd"
    "d778eaf5f2dbfd629a99400000000600000006000000000000004146504b0100400000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000046000000000000003800"
    "000038000000000000000000000044c9f10cace487d8dd8dae9176ead3ed84de5532eca2bdc4965c2578cf2471d900000000"
    "4146504b"
)
MANIFEST_ID = "806ef105c5cc4a53215137c544d2fa6c16d3f4c4df9b045c098caeac1329b605"
MANIFEST_ROOT = "474be4fe298a6e2b44356a9a51116ff201556423ca15d6f11a02bbb66aed2661"
MANIFEST_HEX = (
    "41464d4601004000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000028b52ffd20801502004403030600050015011515cd00cdcdfb00fbfbdf00dfdf85008585"
    "57005757340034341600161601000506000501020102030001000004005609187043007f21d002612e747874646c612e7478"
    "745891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03b1946ac92492d2347c6235b4d261118400"
    "000000010000000000000000000000000000008e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a"
    "9900000000400000000600000006000000000000007070707070707070707070707070707028b52ffd607002a51100441c80"
    "6ef105c5cc4a53215137c544d2fa6c16d3f4c4df9b045c098caeac1329b60541464d43010000000400070005000a01000100"
    "20000200800002000201030102040003100001001000000411000100040002000805120001000c0002000cf8ff0100061307"
    "140001001400020014f4ff01150940004b00009dc6937442742c737c2695217f83579cecfefb794a6e30823de923a58b1557"
    "528b830ed4bae718e7f1b308fb15923355e724a6d2e442ffdae40948ee37ef793e27920c1b1bc9896253c19131abb26e3b13"
    "42f8ea0fb3148a5dcbe06ebe141831a5d59756bc7c31937ca4090c5e93990d52884dddcb5ee311d26d44a66477f412391b85"
    "b73f21285626e60ff8cff13ca91d3d9049a2d4658e5c42af6a99e8a302808bd6ccc75ffb5f9af2f29caca818577e63bf6615"
    "41053c8d2caaaeb479be74a7a152b01ccf7e3eff9ef7613a50340eb12677ee03b83ac759fcba9bb32705f07248d56d473bdb"
    "4180cbd7a2b9297abf1f04eb033f30624f1f17186eab61e01aaaf1896a20de96fb146464b5957ba6d2ace02e404847585f7b"
    "b813c86bf267a2e115d914042f93f7e30f01109f598a365402032e86a255e65c136fa43a3d96d55c909c9efd931a31aaa234"
    "f03520108309c4c603b290f1f20db297e1fecb203b233f9902a2367e50046431ffdc0a888af1630988b3b74de9d7a7a18659"
    "1a32924e28bcee90afc60d26d63c59328239e694c2af352714dfdda83143863218af17367ed0ca712caf2bb9bc90dd803982"
    "cf2b16cf82031b58032f0341464d460100400000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000001f010000000000003e02000070030000010000000000000047"
    "4be4fe298a6e2b44356a9a51116ff201556423ca15d6f11a02bbb66aed26610000000041464d46"
)
EMPTY_ID = "b4ff390913b1dee85f830fb66ee873c4579adac44d216d636794e1e93209076b"
CONTENT_HEX = (
    "41464d43010000000400000000000000070000000000000005000000000000000100000000000000030000000000000015cd"
    "fbdf855734160100000000000000000000000000020006000000000000000100000000000000000000000000000000000000"
    "05000101000000000000000015cdfbdf8557341600000000000000000500000001000200050000000000000015cdfbdf8557"
    "341600000000000000000600000001000300612e747874646c612e7478745891b5b522d5df086d0ff0b110fbd9d21bb4fc71"
    "63af34d08286a2e846f6be03"
)
PACK_ID = PackId(bytes(range(16)))
TREE = item_of({b"a.txt": File(b"hello\n", executable=True, mtime_ns=1), b"d": {}, b"l": Link(b"a.txt")})


def small_pack() -> bytes:
    builder = PackBuilder()
    builder.id = PACK_ID
    builder.add(chunk_digest(b"hello\n"), Coding.PLAIN, b"hello\n", 6)
    return bytes(builder.finish())


def store_with(key: str, data: bytes) -> MemoryStore:
    objects = MemoryStore()
    objects.put(key, data)
    return objects


# Known answers


def test_the_bytes_of_a_pack_are_those_of_format_1() -> None:
    assert small_pack().hex() == PACK_HEX


def test_the_id_and_the_bytes_of_a_manifest_are_those_of_format_1() -> None:
    built = build(TREE)
    assert built.id.hex() == MANIFEST_ID
    assert built.root.hex() == MANIFEST_ROOT
    assert built.data.hex() == MANIFEST_HEX


def test_the_id_of_an_empty_folder_is_that_of_format_1() -> None:
    assert build(item_of({})).id.hex() == EMPTY_ID


def test_the_content_that_an_id_covers_is_that_of_format_1() -> None:
    assert blake3(bytes.fromhex(CONTENT_HEX)).hexdigest() == MANIFEST_ID


# One flipped bit


def check_pack(data: bytes) -> None:
    read_footer(store_with(pack_key(PACK_ID.hex()), data), PACK_ID)


def check_manifest(data: bytes) -> Manifest:
    built = build(TREE)
    manifest = open_manifest(store_with(manifest_key(built.id.hex()), data), built.id, built.root, ByteCache(1 << 20))
    manifest.check()
    for kind in manifest.contents.sections:
        list(manifest.pages(kind))
    return manifest


BLOCK_BITS = range(64 * 8, 70 * 8)  # of the pack: the block itself is held against its own digest


@pytest.mark.parametrize("byte", range(len(small_pack())))
def test_a_flipped_bit_of_a_pack_is_noticed(byte: int) -> None:
    for bit in range(byte * 8, byte * 8 + 8):
        if bit in BLOCK_BITS:
            continue
        data = bytearray(small_pack())
        data[byte] ^= 1 << bit % 8
        with pytest.raises((Corrupt, FeatureMissing)):
            check_pack(bytes(data))


def test_a_flipped_bit_of_a_manifest_is_noticed() -> None:
    sound = bytes(build(TREE).data)
    check_manifest(sound)
    for bit in range(len(sound) * 8):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Corrupt, FeatureMissing)):
            check_manifest(bytes(data))


def test_a_flipped_bit_of_an_index_segment_is_noticed() -> None:
    key, objects = segment()
    sound = objects.get(key)
    for bit in range(len(sound) * 8):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        objects.put(key, data)
        with pytest.raises((Corrupt, FeatureMissing)):
            read_segment(objects, key)


def test_objects_cut_short_or_grown_are_corrupt() -> None:
    pack, manifest = small_pack(), bytes(build(TREE).data)
    for size in range(len(pack)):
        with pytest.raises(ObjectCorrupt):
            check_pack(pack[:size])
    for size in range(0, len(manifest), 7):
        with pytest.raises(ObjectCorrupt):
            check_manifest(manifest[:size])
    for grown in (pack + b"\0", b"\0" + pack, pack + pack):
        with pytest.raises(ObjectCorrupt):
            check_pack(grown)


# Tables


@pytest.mark.parametrize("tail", [128, 129, 200, 1000, 1 << 16])
def test_a_table_is_read_whatever_part_of_it_came_first(tail: int) -> None:
    table = random.Random(1).randbytes(700)
    end, digest = table_and_trailer(table, at=64, magic=PACK_MAGIC)
    found = read_table(store_with("k", header(PACK_MAGIC) + end), "k", PACK_MAGIC, limit=700, tail=tail)
    assert (bytes(found.plain), found.digest, found.at) == (table, digest, 64)


def test_a_table_above_the_limit_is_refused() -> None:
    end, _ = table_and_trailer(bytes(701), at=64, magic=PACK_MAGIC)
    with pytest.raises(ObjectCorrupt, match="at most 700"):
        read_table(store_with("k", header(PACK_MAGIC) + end), "k", PACK_MAGIC, limit=700)


def test_an_object_of_another_kind_is_corrupt() -> None:
    with pytest.raises(ObjectCorrupt, match="does not end as an index segment"):
        read_table(store_with("k", small_pack()), "k", INDEX_MAGIC, limit=1 << 20)


def with_header(at: int, value: int) -> bytes:
    """Return the small pack with one byte of its header changed, at both places and below the digest."""
    data = bytearray(small_pack())
    data[at] = value
    trailer = len(data) - TRAILER.size
    data[trailer : trailer + HEADER.size] = data[: HEADER.size]
    table = int.from_bytes(data[trailer + 64 : trailer + 72], "little")
    covered = trailer + COVERED
    data[covered : covered + 32] = blake3(data[table:covered]).digest()
    return bytes(data)


@pytest.mark.parametrize(("at", "value"), [(4, 2), (6, 65), (8, 1), (16, 1)])
def test_what_a_newer_version_wrote_is_refused_as_that(at: int, value: int) -> None:
    with pytest.raises(FeatureMissing):
        check_pack(with_header(at, value))


def test_optional_flags_are_passed_over() -> None:
    check_pack(with_header(12, 255))


def test_a_salt_without_a_key_is_corrupt() -> None:
    with pytest.raises(ObjectCorrupt):
        check_pack(with_header(32, 1))


# Footers


def footer(
    rows: list[tuple[int, int, int, int, int]], *, end: int, count: int | None = None, more: bytes = b""
) -> bytes:
    """Return a pack of `end` bytes with a footer of (offset, stored, plain, coding, bases) rows."""
    plain = b"".join(ROW.pack(bytes(32), *row, 0) for row in rows)
    table = (len(rows) if count is None else count).to_bytes(8, "little") + plain + more
    return header(PACK_MAGIC).ljust(end, b"x") + table_and_trailer(table, at=end, magic=PACK_MAGIC)[0]


def test_a_sound_footer_passes() -> None:
    check_pack(footer([(64, 10, 10, 0, 0), (74, 5, 100, 1, 0)], end=79))
    check_pack(footer([(64, 10, 100, 3, 2)], end=74, more=bytes(64)))
    check_pack(footer([], end=64))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(footer([(65, 10, 10, 0, 0)], end=75), id="a gap"),
        pytest.param(footer([(64, 10, 10, 0, 0), (73, 5, 5, 0, 0)], end=78), id="an overlap"),
        pytest.param(footer([(64, 10, 10, 0, 0)], end=75), id="bytes of no block"),
        pytest.param(footer([(64, 10, 10, 0, 0)], end=70), id="a block that reaches into the footer"),
        pytest.param(footer([(64, 10, 2**32 - 1, 1, 0)], end=74), id="a block that claims 4 GiB"),
        pytest.param(footer([(64, 10, 0, 1, 0)], end=74), id="a block of nothing"),
        pytest.param(footer([(64, 10, 11, 0, 0)], end=74), id="a plain block of another length"),
        pytest.param(footer([(64, 2000, 10, 1, 0)], end=2064), id="a block that grew by coding"),
        pytest.param(footer([(64, 10, 10, 3, 9)], end=74, more=bytes(9 * 32)), id="too many bases"),
        pytest.param(footer([(64, 10, 10, 3, 1)], end=74), id="a base missing"),
        pytest.param(footer([(64, 10, 10, 0, 0)], end=74, more=b"x"), id="bytes of no row"),
        pytest.param(footer([(64, 10, 10, 0, 0)], end=74, count=2), id="a row missing"),
        pytest.param(footer([], end=64, count=2**64 - 1), id="2**64 rows"),
        pytest.param(footer([(64, 0, 1, 1, 0)] * 65_537, end=64), id="more rows than a pack may have"),
        pytest.param(header(PACK_MAGIC) + table_and_trailer(b"abc", at=64, magic=PACK_MAGIC)[0], id="no count"),
    ],
)
def test_a_footer_that_cannot_be_is_corrupt(data: bytes) -> None:
    with pytest.raises(ObjectCorrupt):
        check_pack(data)


def test_a_pack_gives_back_its_blocks() -> None:
    chunks = [b"x" * 1000, random.Random(5).randbytes(300), b"y"]
    data, blocks = pack_of(chunks)
    objects = store_with(pack_key(blocks[0].pack.hex()), data)
    assert read_footer(objects, blocks[0].pack) == blocks
    with pytest.raises(ObjectMissing):
        read_footer(objects, PACK_ID)


# Index segments


def segment() -> tuple[str, MemoryStore]:
    objects = MemoryStore()
    write_segment(objects, "maps", [(PACK_ID, [b"hook---1", b"hook---2"]), (PackId(b"q" * 16), [b"hook---3"])])
    ((key, *_),) = objects.list("index/")
    return key, objects


def test_a_segment_gives_back_its_hooks_with_their_packs() -> None:
    key, objects = segment()
    assert key.startswith(f"index/{name_prefix('maps')}/")
    assert list(read_segment(objects, key).hooks()) == [
        (b"hook---1", PACK_ID),
        (b"hook---2", PACK_ID),
        (b"hook---3", PackId(b"q" * 16)),
    ]


def test_every_pack_has_a_hook() -> None:
    blocks = [block_of(bytes([n]) * 9) for n in range(50)]
    smallest = min(block.digest for block in blocks)[:8]
    hooks = hooks_of(blocks)
    assert smallest in hooks
    assert hooks == sorted({smallest, *(b.digest[:8] for b in blocks if b.digest[0] < 8)})
    assert hooks_of([]) == []


@pytest.mark.parametrize(
    "table",
    [
        b"",
        bytes(7),
        (1).to_bytes(4, "little") + bytes(4),
        (2**32 - 1).to_bytes(4, "little") * 2,
        bytes(4) + (1).to_bytes(4, "little") + bytes(12),
        (1).to_bytes(4, "little") * 2 + bytes(16) + bytes(8) + (1).to_bytes(4, "little"),
        bytes(8) + b"x",
    ],
)
def test_a_segment_that_cannot_be_is_corrupt(table: bytes) -> None:
    objects = MemoryStore()
    objects.put(index_key("00", "aa"), header(INDEX_MAGIC) + table_and_trailer(table, at=64, magic=INDEX_MAGIC)[0])
    with pytest.raises(StoreError):
        read_segment(objects, index_key("00", "aa"))


def test_header_and_trailer_have_their_sizes() -> None:
    assert (HEADER.size, TRAILER.size, len(header(PACK_MAGIC))) == (64, 128, 64)


def test_a_push_with_more_hooks_than_a_segment_holds_writes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.index.MAX_SEGMENT", 8 + 2 * (16 + 2 * 12))
    objects = MemoryStore()
    packs = [(PackId(bytes([n]) * 16), [bytes([n]) * 8, bytes([n + 100]) * 8]) for n in range(5)]
    write_segment(objects, "maps", packs)
    keys = [info.key for info in objects.list("index/")]
    assert len(keys) == 3
    found = sorted(pair for key in keys for pair in read_segment(objects, key).hooks())
    assert found == sorted((hook, pack) for pack, hooks in packs for hook in hooks)
