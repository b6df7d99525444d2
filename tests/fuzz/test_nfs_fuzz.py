"""Any bytes become a value or a documented error, and every call that can be answered is answered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfs.dispatch import Runnable, parse, run_blocking
from nfs.export import Export
from nfs.fhandle import WHOLE_TREE
from nfs.limits import Limits
from nfs.table import MOUNT_PROCEDURES, NFS_PROCEDURES, NLM_PROCEDURES, PROGRAMS, Procedure
from nfs.view import BlockingView
from nfs.wire.errors import AuthRejected, GarbageArgs, NotACall, RecordRefused, RpcMismatch
from nfs.wire.record import RecordReader
from nfs.wire.rpc import accept_stat, decode_call, encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import KEY, USER
from tests.support.trees import MemoryTree, resolve
from tests.support.views import shown_to_all

PROCEDURES = [*NFS_PROCEDURES.values(), *MOUNT_PROCEDURES.values(), *NLM_PROCEDURES.values()]
WORDS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.integers(0, 9).map(lambda n: n.to_bytes(4, "big")) | st.binary(max_size=12), max_size=60).map(b"".join),
)
EXPORT_PATHS = ("", "maps", "maps/1.0.0", "maps/1.0.0/a.txt", "maps/1.0.0/link", "maps/1.0.0/names")


@pytest.fixture(scope="module")
def export() -> Export:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    return Export(tree, handle_key=KEY)


@pytest.mark.parametrize("procedure", PROCEDURES, ids=lambda p: str(p.name))
@given(WORDS)
def test_any_bytes_decode_or_are_garbage_and_values_encode_to_their_bytes(procedure: Procedure, data: bytes) -> None:
    for codec in (procedure.args, procedure.result):
        try:
            value, end = codec.decode(data, 0)
        except GarbageArgs:
            continue
        assert codec.decode(encode_whole(codec, value), 0)[0] == value
        assert end <= len(data)


@given(WORDS)
def test_any_record_is_a_call_or_is_refused(data: bytes) -> None:
    try:
        call = decode_call(data)
    except (NotACall, RpcMismatch, AuthRejected):
        return
    assert 0 < call.args_at <= len(data)


@given(WORDS, st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_any_stream_gives_records_within_the_limit_or_is_refused(data: bytes, sizes: list[int]) -> None:
    reader = RecordReader(Limits().record_bytes)
    at = turn = 0
    try:
        while at < len(data):
            room = reader.room()
            piece = data[at : at + min(len(room), sizes[turn % len(sizes)])]
            room[: len(piece)] = piece
            assert all(len(record) <= Limits().record_bytes for record in reader.received(len(piece)))
            at, turn = at + len(piece), turn + 1
    except RecordRefused:
        return


@given(st.data())
def test_every_call_with_good_handles_and_any_arguments_is_answered(export: Export, data: st.DataObject) -> None:
    prog = data.draw(st.sampled_from(sorted(PROGRAMS)))
    proc = data.draw(st.sampled_from(sorted(PROGRAMS[prog].procedures)))
    node = resolve(export.tree, data.draw(st.sampled_from(EXPORT_PATHS)))
    fh = export.outward(node, WHOLE_TREE)[0]
    args = len(fh).to_bytes(4, "big") + fh + data.draw(WORDS)
    record = encode_call(1, prog, PROGRAMS[prog].version, proc, args, USER)
    runnable = parse(record)
    assert isinstance(runnable, Runnable)
    answer = run_blocking(record, runnable, BlockingView(shown_to_all(export), b"host"))
    if isinstance(answer, accept_stat):
        assert answer is accept_stat.GARBAGE_ARGS
        return
    encoded = b"".join(answer)
    decoded: Any = runnable.procedure.result.decode(encoded, 0)
    assert decoded[1] == len(encoded)
    assert "SERVERFAULT" not in str(decoded[0])
