"""Any bytes to the portmapper are answered or passed over, and no stranger gets much more than it sent."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nfs.portmap.answering import AMPLIFIED, MOST_BYTES, answer, answer_datagram
from nfs.portmap.procedures import PROCEDURES, Procedure
from nfs.portmap.services import TRANSPORTS, Asked, Register, all_services
from nfs.wire.errors import GarbageArgs, NotACall
from nfs.wire.portmap import PORTMAP_PROGRAM, parse_universal_address, universal_address
from nfs.wire.rpc import encode_call
from nfs.wire.xdr import encode_whole

ALL = [(vers, number, procedure) for vers, by in PROCEDURES.items() for number, procedure in by.items()]
WORDS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.integers(0, 9).map(lambda n: n.to_bytes(4, "big")) | st.binary(max_size=12), max_size=60).map(b"".join),
)
PROGRAM = st.sampled_from([100000, 100003, 100005, 100021]).map(lambda n: n.to_bytes(4, "big"))
HOSTS = ("0.0.0.0", "::")


def asked(netid: bytes, *, this_machine: bool) -> Asked:
    return Asked(TRANSPORTS[netid], "2001:db8::1" if netid.endswith(b"6") else "192.0.2.1", this_machine)


def register() -> Register:
    return Register(tuple(all_services(HOSTS, 2049, 111)))


@pytest.mark.parametrize(
    "procedure", [procedure for _, _, procedure in ALL], ids=[f"{vers}-{p.name}" for vers, _, p in ALL]
)
@given(WORDS)
def test_any_bytes_decode_or_are_garbage_and_values_encode_to_their_bytes(procedure: Procedure, data: bytes) -> None:
    for codec in (procedure.args, procedure.result):
        try:
            value, end = codec.decode(data, 0)
        except GarbageArgs:
            continue
        assert codec.decode(encode_whole(codec, value), 0)[0] == value
        assert end <= len(data)


@given(st.sampled_from(sorted(TRANSPORTS)), st.integers(0, 6), st.integers(0, 14), st.just(b"") | PROGRAM, WORDS)
@example(b"udp", 4, 4, b"", b"")
@example(b"udp6", 4, 12, b"", b"")
def test_every_call_is_answered_and_no_stranger_gets_much_by_udp(
    netid: bytes, vers: int, proc: int, program: bytes, args: bytes
) -> None:
    record = encode_call(1, PORTMAP_PROGRAM, vers, proc, program + args)
    here = register()
    reply = answer(record, here, asked(netid, this_machine=True))
    assert reply[4:12] == b"\0\0\0\1\0\0\0\1"
    assert reply[-4:] != b"\0\0\0\5"  # SYSTEM_ERR
    stranger = answer_datagram(record, here, asked(netid, this_machine=False))
    neighbour = answer_datagram(record, here, asked(netid, this_machine=True))
    if proc == 5 and vers in PROCEDURES:
        assert stranger is neighbour is None
        return
    assert stranger is not None
    assert neighbour is not None
    assert len(stranger) <= AMPLIFIED * len(record)
    assert len(neighbour) <= MOST_BYTES


@given(WORDS)
def test_any_datagram_is_a_call_or_met_with_silence(data: bytes) -> None:
    reply = answer_datagram(data, register(), asked(b"udp", this_machine=False))
    assert reply is None or len(reply) <= AMPLIFIED * len(data)
    try:
        answer(data, register(), asked(b"tcp", this_machine=False))
    except NotACall:
        assert reply is None


@given(st.binary(max_size=60) | st.text("0123456789.:af", max_size=40).map(str.encode))
def test_any_text_is_a_universal_address_or_garbage(text: bytes) -> None:
    try:
        host, port = parse_universal_address(text)
    except GarbageArgs:
        return
    assert parse_universal_address(universal_address(host, port)) == (host, port)
