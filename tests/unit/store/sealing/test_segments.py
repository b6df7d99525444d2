"""How objects are sealed: any range can be read, nothing else opens, and no nonce is used twice."""

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from store.errors import ObjectCorrupt, StoreError
from store.objects.base import Buffer
from store.objects.memory import MemoryStore
from store.objects.sealed import Sealed
from store.push.push import push
from store.repository import Repository
from store.root import StoreRoot, create_store, in_plain
from store.sealing import segments
from store.sealing.key_source import GivenKey, make_envelope
from store.sealing.secret_keys import DataKeys, KeyRing
from store.sealing.segments import ENDS, HEADER, SEGMENT, TAG, plain_size, sealed_size
from store.secret import Secret

STORE = "ab" * 16
EDGES = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 3 * SEGMENT + 7]


def ring(*ids: bytes) -> KeyRing:
    data = {id: Secret(id * 2) for id in ids or (b"1" * 16,)}
    return KeyRing(data=data, id_secret=Secret(b"i" * 32), handle=Secret(b"h" * 32))


def sealed(inner: MemoryStore, **named: KeyRing) -> Sealed:
    return Sealed(inner, named.get("ring", ring()), STORE)


def lying(inner: MemoryStore) -> str:
    (info,) = inner.list("")
    return info.key


@pytest.mark.parametrize("size", EDGES)
def test_an_object_is_read_as_it_was_written(size: int) -> None:
    inner, data = MemoryStore(), os.urandom(size)
    store = sealed(inner)
    store.put("packs/aa/x", data)
    for fresh in (store, sealed(inner)):
        assert fresh.get("packs/aa/x") == data
        assert fresh.tail("packs/aa/x", 100) == (data[-100:], size)
        assert fresh.tail("packs/aa/x", 1 << 20) == (data, size)
        fetched = fresh.fetch("packs/aa/x")
        assert fetched is not None
        assert fetched.data == data
        assert fresh.head("packs/aa/x").size == size
        assert [(info.key, info.size) for info in fresh.list("packs/")] == [("packs/aa/x", size)]
    assert inner.head("packs/aa/x").size == sealed_size(size)
    assert plain_size(sealed_size(size)) == size


@given(st.integers(0, 3 * SEGMENT), st.data())
def test_any_range_is_that_of_the_plain_bytes(size: int, draw: st.DataObject) -> None:
    data = os.urandom(size)
    inner = MemoryStore()
    store = sealed(inner)
    store.put("packs/aa/x", data)
    near = st.sampled_from([0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, size])
    for fresh in (store, sealed(inner)):
        offset = draw.draw(st.integers(0, size + 10) | near)
        length = draw.draw(st.none() | st.integers(0, size + 10) | near)
        wanted = data[offset:] if length is None else data[offset : offset + length]
        assert fresh.get("packs/aa/x", offset=offset, size=length) == wanted


@given(st.integers(0, 5 * SEGMENT))
def test_sizes_are_told_from_sizes(size: int) -> None:
    assert plain_size(sealed_size(size)) == size


def test_sizes_that_no_sealed_object_has_count_as_empty() -> None:
    assert [plain_size(size) for size in (0, ENDS, ENDS + TAG - 1, sealed_size(SEGMENT) + TAG)] == [0] * 4


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("way", ["get", "fetch", "tail"])
def test_a_flipped_bit_anywhere_is_damage(size: int, way: str) -> None:
    inner = MemoryStore()
    sealed(inner).put("packs/aa/x", os.urandom(size))
    good = inner.get("packs/aa/x")
    last = len(good) - HEADER.size
    needed = {  # of the two headers, who reads one end alone looks at one
        "get": [0, 5, 9, 17, 33, 63, 64, len(good) // 2, last - 1],
        "fetch": [0, 5, 9, 17, 33, 63, 64, len(good) // 2, last - 1, last, len(good) - 1],
        "tail": [64, len(good) // 2, last - 1, last, last + 9, last + 17, last + 33, len(good) - 1],
    }
    for place in needed[way]:
        damaged = bytearray(good)
        damaged[place] ^= 1
        inner.put("packs/aa/x", damaged)
        store = sealed(inner)
        with pytest.raises(ObjectCorrupt, match="packs/aa/x"):
            store.tail("packs/aa/x", 1 << 20) if way == "tail" else getattr(store, way)("packs/aa/x")


@pytest.mark.parametrize("cut", [1, HEADER.size, HEADER.size + TAG, SEGMENT + TAG, 2 * (SEGMENT + TAG)])
def test_a_truncated_object_is_damage(cut: int) -> None:
    inner = MemoryStore()
    sealed(inner).put("packs/aa/x", os.urandom(3 * SEGMENT))
    inner.put("packs/aa/x", inner.get("packs/aa/x")[:-cut])
    with pytest.raises(ObjectCorrupt):
        sealed(inner).tail("packs/aa/x", 10)
    with pytest.raises(ObjectCorrupt):
        sealed(inner).fetch("packs/aa/x")
    if cut > HEADER.size:
        with pytest.raises(ObjectCorrupt, match="cut short"):
            sealed(inner).get("packs/aa/x")


def test_segments_open_at_their_own_place_alone() -> None:
    inner = MemoryStore()
    sealed(inner).put("packs/aa/x", bytes(3 * SEGMENT))
    data = bytearray(inner.get("packs/aa/x"))
    first, second = (slice(segments.start_of(n), segments.start_of(n + 1)) for n in (0, 1))
    data[first], data[second] = data[second], data[first]
    inner.put("packs/aa/x", data)
    with pytest.raises(ObjectCorrupt, match="segment 0 does not open"):
        sealed(inner).get("packs/aa/x")


@pytest.mark.parametrize(
    ("key", "other"),
    [("packs/aa/x", "packs/aa/y"), ("pushes/1", "packs/1"), ("datasets/05/geo", "datasets/13/maps")],
)
def test_an_object_opens_under_its_own_name_alone(key: str, other: str) -> None:
    inner = MemoryStore()
    store = sealed(inner)
    store.put(key, b"of one")
    data = inner.get(lying(inner))
    inner.delete(lying(inner))
    store.put(other, b"of the other")
    inner.put(lying(inner), data)
    with pytest.raises(ObjectCorrupt, match="sealed for another name"):
        store.get(other)


def test_an_object_opens_in_its_own_store_alone() -> None:
    inner = MemoryStore()
    sealed(inner).put("packs/aa/x", b"mine")
    with pytest.raises(ObjectCorrupt):
        Sealed(inner, ring(), "cd" * 16).get("packs/aa/x")


def test_what_is_not_sealed_is_refused() -> None:
    inner = MemoryStore()
    inner.put("packs/aa/x", b"plain " * 100)
    with pytest.raises(ObjectCorrupt, match="it is not sealed"):
        sealed(inner).get("packs/aa/x")
    inner.put("packs/aa/x", b"")
    with pytest.raises(ObjectCorrupt, match="too few"):
        sealed(inner).get("packs/aa/x")


def test_a_data_key_that_the_store_does_not_have_is_named() -> None:
    inner = MemoryStore()
    sealed(inner, ring=ring(b"2" * 16)).put("packs/aa/x", b"data")
    with pytest.raises(ObjectCorrupt, match="data key 323232323232"):
        sealed(inner).get("packs/aa/x")


def test_a_data_key_that_came_later_is_looked_for_once() -> None:
    inner = MemoryStore()
    sealed(inner, ring=ring(b"1" * 16, b"2" * 16)).put("packs/aa/x", b"data")
    old, looked = ring(b"1" * 16), []

    def reload() -> DataKeys:
        looked.append(1)
        return ring(b"1" * 16, b"2" * 16).data

    old.reload = reload
    store = sealed(inner, ring=old)
    assert store.get("packs/aa/x") == b"data"
    store.put("packs/aa/z", b"with the key that it began with")
    assert store.get("packs/aa/z") == b"with the key that it began with"
    assert len(looked) == 1


def test_an_object_that_was_replaced_is_read_anew() -> None:
    inner = MemoryStore()
    reader, writer = sealed(inner), sealed(inner)
    for text in (b"first" * SEGMENT, b"second", b"the third one" * SEGMENT):
        writer.put("manifests/" + "aa/" + "ab" * 32, text)
        assert reader.get("manifests/" + "aa/" + "ab" * 32, offset=1, size=9) == text[1:10]


class Noting:
    """A cipher that notes the key and nonce of everything that is sealed."""

    seen: list[tuple[bytes, bytes]] = []  # noqa: RUF012  # one for all

    def __init__(self, key: bytes) -> None:
        self._key, self._gcm = key, AESGCM(key)
        self.decrypt = self._gcm.decrypt

    def encrypt_into(self, nonce: bytes, data: Buffer, names: bytes, to: memoryview) -> int:
        self.seen.append((self._key, nonce))
        return self._gcm.encrypt_into(nonce, data, names, to)


class Dies(MemoryStore):
    """Ends a writer at one write out of a few, with the write lost or done."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.every = 0

    def _write(self, key: str, data: bytes) -> str:
        self.writes += 1
        if self.every and self.writes % self.every == 0:
            if self.writes % 2:
                super()._write(key, data)
            raise Killed
        return super()._write(key, data)


class Killed(StoreError):
    """The writer is killed here."""


@pytest.mark.slow
def test_no_nonce_is_used_twice_over_ten_thousand_objects_with_kills_and_resumes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "AESGCM", Noting)
    monkeypatch.setattr("store.push.upload.SMALLEST", 100_000)  # bytes of a pack
    Noting.seen = []
    inner = Dies()

    def encrypt(fresh: StoreRoot) -> StoreRoot:
        envelope, keys = make_envelope(GivenKey(Secret(bytes(32)), "the test"), fresh.store, 1)
        return replace(fresh, envelope=envelope, keys=keys, handle_key=keys.handle, features={"read": ("encryption",)})

    root = create_store(inner, encrypt=encrypt).root
    folder = tmp_path_factory.mktemp("source")
    killed = 0
    for round in range(40):
        (folder / f"{round}").write_bytes(os.urandom(300_000))
        inner.every = 3 + round % 5
        for attempt in range(6):  # killed, and gone on
            repository = Repository(in_plain(inner, root), root)
            try:
                push(repository, folder, "ds", [f"v1.{round}.0"], folder.parent / "state")
                break
            except StoreError:
                killed += 1
            if attempt == 4:
                inner.every = 0
    inner.every = 0
    store = in_plain(inner, root)
    for number in range(10_000):
        store.put(f"packs/aa/{number:04x}", bytes(number % 50))
    assert killed > 40
    assert len(Noting.seen) > 10_500
    assert len(set(Noting.seen)) == len(Noting.seen)
    assert len({key for key, _ in Noting.seen}) > 10_000


@pytest.mark.parametrize("told", [0, 5, SEGMENT])
def test_an_object_that_claims_to_be_shorter_is_damage_wherever_it_is_read(told: int) -> None:
    inner = MemoryStore()
    sealed(inner).put("packs/aa/x", os.urandom(3 * SEGMENT))
    data = bytearray(inner.get("packs/aa/x"))
    data[8:16] = told.to_bytes(8, "little")
    inner.put("packs/aa/x", data)
    for offset in (0, told, 2 * SEGMENT, 5 * SEGMENT):
        with pytest.raises(ObjectCorrupt):
            sealed(inner).get("packs/aa/x", offset=offset, size=10)
