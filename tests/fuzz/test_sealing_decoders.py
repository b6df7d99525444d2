"""What is read of an encrypted store and its keys, from any bytes: a value or a documented error."""

import contextlib
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway import pins
from store import jsondoc, veiled_file
from store.errors import KeyNeeded, KeyWrong, StoreError
from store.layout import ROOT_KEY
from store.objects.memory import MemoryStore
from store.objects.sealed import Sealed
from store.root import ENCRYPTION, StoreRoot, create_store, decode_opened, decode_root
from store.sealing.envelope import decode_envelope
from store.sealing.key_source import GivenKey, make_envelope, parse_key, read_key_file, unlock_with
from store.sealing.names import Names
from store.sealing.segments import Cipher, NotSealed, new_header, open_range, read_header, seal
from store.secret import Secret
from store.veil import Veil
from store.veiled_file import VeilBroken
from tests.fuzz.test_store_decoders import bounded, damaged

SOURCE = GivenKey(Secret(b"k" * 32), "the test")


def _encrypted() -> tuple[bytes, StoreRoot]:
    def encrypt(fresh: StoreRoot) -> StoreRoot:
        envelope, keys = make_envelope(SOURCE, fresh.store, 1)
        return replace(fresh, envelope=envelope, keys=keys, handle_key=keys.handle, features={"read": (ENCRYPTION,)})

    objects = MemoryStore()
    root = create_store(objects, encrypt=encrypt).root
    return objects.get(ROOT_KEY), root


RECORD, ROOT = _encrypted()
assert ROOT.keys is not None
KEYS = ROOT.keys
NAMES = Names(KEYS)
HEADER = new_header(5, KEYS.current)
OBJECT = bytes(seal(Cipher(HEADER, KEYS.data_key(KEYS.current), kind="pack", store=b"s" * 16, name="k"), b"plain"))
HIDDEN = NAMES.hide("manifests/ab/" + "ab" * 32).encode()


def refusable(work: Callable[[], object]) -> None:
    """As `bounded`, where a key may be refused besides."""

    def tried() -> None:
        with contextlib.suppress(KeyNeeded, KeyWrong):
            work()

    bounded(tried)


@given(damaged(RECORD))
def test_any_record_of_an_encrypted_store_is_read_or_refused(data: bytes) -> None:
    refusable(lambda: decode_root(data, unlock=unlock_with(SOURCE)))
    refusable(lambda: decode_root(data))
    bounded(lambda: decode_opened(data, KEYS))


@given(damaged(json.dumps(json.loads(RECORD)["encryption"]).encode()))
def test_any_envelope_is_read_or_refused(data: bytes) -> None:
    bounded(lambda: decode_envelope(jsondoc.decode("k", data, limit=1 << 16)))


@given(damaged(OBJECT), st.integers(0, 10), st.integers(0, 10))
def test_any_sealed_object_is_read_or_refused(data: bytes, offset: int, size: int) -> None:
    with contextlib.suppress(NotSealed):
        header = read_header(data[:64])
        cipher = Cipher(header, Secret(b"d" * 32), kind="pack", store=b"s" * 16, name="k")
        open_range(cipher, data[64:], min(offset, header.plain), min(offset + size, header.plain))
    inner = MemoryStore()
    inner.put("packs/ab/x", data)
    reads: list[Callable[[Sealed], object]] = [
        lambda store: store.get("packs/ab/x", offset=offset, size=size),
        lambda store: store.get("packs/ab/x"),
        lambda store: store.tail("packs/ab/x", size),
        lambda store: store.fetch("packs/ab/x"),
        lambda store: store.head("packs/ab/x"),
    ]
    for read in reads:
        bounded(functools.partial(read, Sealed(inner, KEYS, ROOT.store)))


@given(damaged(HIDDEN) | st.binary(max_size=300))
def test_any_key_in_the_bucket_is_told_or_passed_over(data: bytes) -> None:
    for area in ("datasets/ab/", "manifests/ab/", "history/", "history/x/", "index/ab/", "changes/", ""):
        key = area + data.decode("latin-1")
        shown = NAMES.show(key)
        assert shown is None or NAMES.hide(shown) == key
        NAMES.hide(key)
        NAMES.hide_prefix(key)


@given(st.binary(max_size=200) | damaged(b"# a key\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
def test_any_key_file_is_read_or_refused(data: bytes) -> None:
    refusable(lambda: parse_key(data.decode("latin-1"), "the test"))
    with TemporaryDirectory() as folder:
        path = Path(folder, "k")
        path.touch(mode=0o600)
        path.write_bytes(data)
        refusable(lambda: read_key_file(path))


@given(st.binary(max_size=300))
def test_any_local_file_is_read_or_refused(data: bytes) -> None:
    veil, cipher = Veil(b"v" * 32), AESGCM(b"c" * 32)
    with TemporaryDirectory() as folder:
        path = Path(folder, "f")
        path.write_bytes(data)
        with path.open("rb") as file, contextlib.suppress(VeilBroken):
            veiled_file.read_size(file.fileno(), cipher, b"p")
        with contextlib.suppress(OSError), veil.open(path, "rb", b"p") as sealed:
            sealed.read(1000)


@given(st.binary(max_size=100) | damaged(b'{"store": "ab", "seq": 5}'))
def test_any_note_of_a_store_is_read_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "pin")
        path.write_bytes(data)
        before, pins._file = pins._file, lambda address: path
        try:
            with contextlib.suppress(StoreError):
                pins.read_pin("anywhere")
        finally:
            pins._file = before
