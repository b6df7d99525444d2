"""Documents and local notes, from any bytes: a value or a documented error. And a list that no decoder escapes."""

import ast
import contextlib
import pkgutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

import store
from gateway.stores import read_conditions, write_conditions
from store.blocks import decode_block
from store.catalogue.head import Head, HistoryRef, TagsRef
from store.catalogue.history import Archive
from store.digest import Digest, PackId, chunk_digest, stored_digest
from store.errors import PushLost
from store.gc_state import MARKED, Batch, GcState, decode_gc_state, encode_gc_state
from store.layout import history_key
from store.objects.memory import MemoryStore
from store.objects.probe import Conditions
from store.pack import Block
from store.pull import content, placed
from store.pull.pull import pull
from store.push.lease import Lease
from tests.faults.steps import publish, write_folder
from tests.fuzz.test_store_decoders import bounded, damaged
from tests.support.folders import latest, new_repository

FUZZED_ELSEWHERE = {"decode": "tests/property/test_codec.py"}  # the codec's


@given(damaged(encode_gc_state(GcState(batches=(Batch(1, MARKED, 5, frozenset({"ab" * 16})),)), "operation")))
def test_any_state_of_deletion_is_read_or_refused(data: bytes) -> None:
    bounded(lambda: decode_gc_state(data))


STATE = b'{"manifest":"%s","root":"%s","size":1,"files":1' % (b"ab" * 32, b"cd" * 32)
SEGMENT = (
    b'{"dataset":"ds","entries":[{"n":1,"time":5,"op":"push","id":"x","tags":["a"],"state":%s}}],'
    b'"refs":[{"n":1,"level":0,"first":1,"last":1,"since":1,"until":1,"digest":"%s"}],'
    b'"tags":{"a":%s,"n":1,"kind":"channel","moved":5}},"removed":{"b":""}}'
) % (STATE, b"ef" * 32, STATE)


@given(damaged(SEGMENT), st.integers(0, 2))
def test_any_segment_of_history_or_tags_is_read_or_refused(data: bytes, level: int) -> None:
    objects = MemoryStore()
    digest = stored_digest(data).hex()
    objects.put(history_key("ds", 1, digest), data)
    older, tagged = HistoryRef(1, level, 1, 1, 1, 1, digest), TagsRef(1, 1, digest)
    head = Head("ds", seq=1, older=(older,), tagged=(tagged,))
    bounded(lambda: [*Archive(objects).entries(head)])
    bounded(lambda: Archive(objects).records(head))


@given(damaged(b'{"format":1,"dataset":"ds","started":1,"beat":2,"program":"p","ended":false}'))
def test_any_heartbeat_is_read_or_refused(data: bytes) -> None:
    objects = MemoryStore()
    lease = Lease(objects, "ds")
    lease.begin()
    objects.put(lease.key, data)

    def confirm() -> None:
        with contextlib.suppress(PushLost):
            lease.confirm()

    bounded(confirm)
    lease.end()


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_any_block_is_decoded_to_what_its_name_says_or_refused(data: bytes, plain: int, coding: int) -> None:
    wanted = Digest(chunk_digest(b"wanted", None))
    block = Block(wanted, PackId(bytes(16)), 64, len(data), min(plain, 8 << 20), coding)
    bounded(lambda: decode_block(block, data, "here"))


def _conditions() -> bytes:
    with TemporaryDirectory() as folder:
        note = Path(folder) / "note"
        write_conditions(note, Conditions(True, True, True, ""))
        return note.read_bytes()


@given(damaged(_conditions()))
def test_any_note_of_what_a_store_can_do_is_used_or_passed_over(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        note = Path(folder) / "note"
        note.write_bytes(data)
        read_conditions(note)


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a pull notes of what it put where."""
    work = tmp_path_factory.mktemp("noted")
    repository = new_repository()
    write_folder(work / "data", 1, files=2, size=100)
    publish(repository.objects, work / "data", work / "push", "latest")
    pull(repository, latest(repository), work / "dest", work / "state")
    [note] = [path for path in (work / "state").rglob("*") if path.is_file() and path.read_bytes()[:4] == content.MAGIC]
    return note.read_bytes()


@given(data=st.data())
def test_any_note_of_a_pull_is_used_or_passed_over(noted: bytes, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "note"
        path.write_bytes(data.draw(damaged(noted)))
        found = placed.recall(path)
        if found is not None:
            with found:
                bounded(lambda: [*found.entries()])


def test_every_decoder_of_the_store_is_fuzzed() -> None:
    """A function of `store` that makes values of bytes is called `decode…`, `read_…` or `recall`."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    decoders: set[str] = set()
    for module in pkgutil.walk_packages(store.__path__, "store."):
        source = Path(store.__path__[0]).parent.joinpath(*module.name.split(".")).with_suffix(".py")
        if source.exists():
            names = [node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)]
            decoders |= {name for name in names if name.startswith(("decode", "read_", "recall"))}
    assert {"decode_head", "decode_root", "read_footer", "recall"} <= decoders
    no_decoders = {"read_range", "read_block", "read_wanted"}  # they return the bytes, or go through a decoder
    assert {name for name in decoders - no_decoders - set(FUZZED_ELSEWHERE) if f"{name}(" not in tests} == set()
