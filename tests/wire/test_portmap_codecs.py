"""One table of the portmapper's encoded values, used three ways; and universal addresses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from nfs.wire import portmap as p
from nfs.wire.errors import GarbageArgs
from nfs.wire.xdr import Codec, decode_whole, encode_whole

NFS = p.rpcb(100003, 3, b"tcp", b"192.0.2.1.8.1", b"superuser")
NFS_HEX = (
    "000186a3"
    + "00000003"
    + "0000000374637000"
    + "0000000d3139322e302e322e312e382e31000000"
    + "000000097375706572757365"
) + "72000000"
MAPPING = p.mapping(100003, 3, 6, 2049)
MAPPING_HEX = "000186a3" + "00000003" + "00000006" + "00000801"
STAT = p.rpcb_stat(tuple(range(13)), 14, 15, [p.rpcbs_addrlist(1, 2, 3, 4, b"udp")], [])
STAT_HEX = (
    "".join(f"{n:08x}" for n in (*range(13), 14, 15))
    + "00000001"
    + "".join(f"{n:08x}" for n in (1, 2, 3, 4))
    + "0000000375647000"
    + "00000000" * 2
)


class Case(NamedTuple):
    """One value and its bytes."""

    name: str
    codec: Codec[Any]
    value: Any
    hex: str


CASES: Sequence[Case] = [
    Case("mapping", p.MAPPING, MAPPING, MAPPING_HEX),
    Case(
        "pmaplist",
        p.PMAPLIST,
        [MAPPING, MAPPING],
        "00000001" + MAPPING_HEX + "00000001" + MAPPING_HEX + "00000000",
    ),
    Case("no pmaplist", p.PMAPLIST, [], "00000000"),
    Case("rpcb", p.RPCB, NFS, NFS_HEX),
    Case("rpcblist", p.RPCBLIST, [NFS], "00000001" + NFS_HEX + "00000000"),
    Case(
        "rpcb_entry_list",
        p.ENTRIES,
        [p.rpcb_entry(b"::1.0.111", b"udp6", 1, b"inet6", b"udp")],
        "00000001"
        + "000000093a3a312e302e313131000000"
        + "0000000475647036"
        + "00000001"
        + "00000005696e657436000000"
        + "0000000375647000"
        + "00000000",
    ),
    Case("netbuf", p.NETBUF, p.netbuf(16, b"\2\0\0\x6f"), "00000010" + "000000040200006f"),
    Case("rpcb_stat_byvers", p.STATS, (STAT, STAT, STAT), STAT_HEX * 3),
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


@pytest.mark.parametrize(
    ("host", "port", "uaddr"),
    [
        ("192.0.2.1", 2049, b"192.0.2.1.8.1"),
        ("0.0.0.0", 111, b"0.0.0.0.0.111"),
        ("::1", 65535, b"::1.255.255"),
        ("2001:db8::7", 0, b"2001:db8::7.0.0"),
    ],
)
def test_universal_addresses_are_written_and_read(host: str, port: int, uaddr: bytes) -> None:
    assert p.universal_address(host, port) == uaddr
    assert p.parse_universal_address(uaddr) == (host, port)


def test_a_scope_is_the_senders_own_matter() -> None:
    assert p.universal_address("fe80::1%eth0", 2049) == b"fe80::1.8.1"


@pytest.mark.parametrize(
    "uaddr",
    [b"", b"192.0.2.1", b"192.0.2.1.8", b"192.0.2.1.8.256", b"host.8.1", b"::1.8.-1", b"\xff.8.1", b"/run/x.sock"],
)
def test_what_is_no_universal_address_is_garbage(uaddr: bytes) -> None:
    with pytest.raises(GarbageArgs):
        p.parse_universal_address(uaddr)
