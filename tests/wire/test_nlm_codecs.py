"""One table of NLM's encoded values, used three ways: encoded, decoded, and refused at every length short of whole."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from nfs.wire import nlm4
from nfs.wire.errors import GarbageArgs
from nfs.wire.nlm4 import fsh4_access, fsh4_mode, nlm4_stats
from nfs.wire.xdr import Codec, decode_whole, encode_whole

COOKIE, COOKIE_HEX = b"\1\2\3", "0000000301020300"
LOCK = nlm4.nlm4_lock(b"host", b"\xaa\xbb\xcc\xdd", b"17@host", 17, 0x40000002, 510)
FILE_HEX = "00000004686f7374" + "00000004aabbccdd" + "0000000731374068" + "6f737400"
LOCK_HEX = FILE_HEX + "00000011" + "0000000040000002" + "00000000000001fe"
SHARE = nlm4.nlm4_share(b"host", b"\xaa\xbb\xcc\xdd", b"17@host", fsh4_mode.fsm_DW, fsh4_access.fsa_R)
HOLDER = nlm4.nlm4_holder(True, 5, b"ab", 1 << 40, 0)


class Case(NamedTuple):
    """One value and its bytes."""

    name: str
    codec: Codec[Any]
    value: Any
    hex: str


CASES: Sequence[Case] = [
    Case("TEST args", nlm4.TEST4[0], nlm4.nlm4_testargs(COOKIE, True, LOCK), COOKIE_HEX + "00000001" + LOCK_HEX),
    Case("TEST granted", nlm4.TEST4[1], nlm4.nlm4_testres(COOKIE, nlm4_stats.NLM4_GRANTED), COOKIE_HEX + "00000000"),
    Case(
        "TEST denied",
        nlm4.TEST4[1],
        nlm4.nlm4_testres(COOKIE, nlm4_stats.NLM4_DENIED, HOLDER),
        COOKIE_HEX + "00000001" + "00000001" + "00000005" + "0000000261620000" + "0000010000000000" + "0" * 16,
    ),
    Case(
        "LOCK args",
        nlm4.LOCK4[0],
        nlm4.nlm4_lockargs(COOKIE, True, False, LOCK, True, 3),
        COOKIE_HEX + "00000001" + "00000000" + LOCK_HEX + "00000001" + "00000003",
    ),
    Case("LOCK result", nlm4.LOCK4[1], nlm4.nlm4_res(COOKIE, nlm4_stats.NLM4_ROFS), COOKIE_HEX + "00000006"),
    Case(
        "CANCEL args",
        nlm4.CANCEL4[0],
        nlm4.nlm4_cancargs(COOKIE, True, True, LOCK),
        COOKIE_HEX + "00000001" * 2 + LOCK_HEX,
    ),
    Case("UNLOCK args", nlm4.UNLOCK4[0], nlm4.nlm4_unlockargs(COOKIE, LOCK), COOKIE_HEX + LOCK_HEX),
    Case(
        "SHARE args",
        nlm4.SHARE4[0],
        nlm4.nlm4_shareargs(COOKIE, SHARE, False),
        COOKIE_HEX + FILE_HEX + "00000002" + "00000001" + "00000000",
    ),
    Case(
        "SHARE result",
        nlm4.SHARE4[1],
        nlm4.nlm4_shareres(COOKIE, nlm4_stats.NLM4_GRANTED, 0),
        COOKIE_HEX + "00000000" * 2,
    ),
    Case("FREE_ALL args", nlm4.FREE_ALL4[0], nlm4.nlm4_notify(b"host", 5), "00000004686f7374" + "00000005"),
]
NAMED = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@NAMED
def test_value_encodes_to_its_bytes(case: Case) -> None:
    assert encode_whole(case.codec, case.value).hex() == case.hex


@NAMED
def test_bytes_decode_to_their_value(case: Case) -> None:
    assert decode_whole(case.codec, bytes.fromhex(case.hex), 0) == case.value


@NAMED
def test_anything_shorter_is_refused(case: Case) -> None:
    data = bytes.fromhex(case.hex)
    for length in range(len(data)):
        with pytest.raises(GarbageArgs):
            decode_whole(case.codec, data[:length], 0)


def test_a_cookie_has_1024_bytes_at_most() -> None:
    longest = nlm4.nlm4_unlockargs(b"c" * 1024, LOCK)
    data = encode_whole(nlm4.UNLOCKARGS, longest)
    assert decode_whole(nlm4.UNLOCKARGS, data, 0) == longest
    longer = encode_whole(nlm4.UNLOCKARGS, longest._replace(cookie=b"c" * 1025))
    with pytest.raises(GarbageArgs):
        decode_whole(nlm4.UNLOCKARGS, longer, 0)


@pytest.mark.parametrize("at", [-12, -8])
def test_numbers_that_the_enumerations_do_not_have_are_garbage(at: int) -> None:
    data = bytearray.fromhex(COOKIE_HEX + FILE_HEX + "00000002" + "00000001" + "00000000")
    data[at + 3] = 4
    with pytest.raises(GarbageArgs):
        decode_whole(nlm4.SHARE4[0], bytes(data), 0)
