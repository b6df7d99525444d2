"""One table of encoded values, used three ways: encoded, decoded, and refused at every length short of whole."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from nfs.wire import mount3, nfs3
from nfs.wire import nfs3types as t
from nfs.wire.errors import GarbageArgs
from nfs.wire.rpc import AUTHSYS_PARMS, authsys_parms
from nfs.wire.xdr import Choice, Codec, Opaque, Optional, boolean, decode_whole, encode_whole, uint32, uint64

FH = "00000004" + "aabbccdd"
ATTRIBUTES = bytes(range(84))
ATTR = "00000001" + ATTRIBUTES.hex()
WHERE = FH + "00000003" + "61626300"
NAME = t.diropargs3(b"\xaa\xbb\xcc\xdd", b"abc")
HANDLE = b"\xaa\xbb\xcc\xdd"
NO_CHANGE = t.sattr3(None, None, None, None, Choice(0), Choice(0))
NO_CHANGE_HEX = "00000000" * 6
MODE = t.sattr3(0o644, None, None, 7, Choice(1), Choice(2, t.nfstime3(5, 6)))
MODE_HEX = (
    "00000001000001a4" + "00000000" * 2 + "00000001" + "0000000000000007" + "00000001" + "000000020000000500000006"
)
WCC = t.wcc_data(t.wcc_attr(1, t.nfstime3(2, 3), t.nfstime3(4, 5)), ATTRIBUTES)
WCC_HEX = "00000001" + "0000000000000001" + "0000000200000003" + "0000000400000005" + ATTR
NO_WCC = t.wcc_data()
NO_WCC_HEX = "00000000" * 2
ROFS = "0000001e"


class Case(NamedTuple):
    """One value and its bytes."""

    name: str
    codec: Codec[Any]
    value: Any
    hex: str


def results(codecs: tuple[Any, Any], resok: Any, ok_hex: str, resfail: Any, fail_hex: str, name: str) -> list[Case]:
    return [
        Case(f"{name} ok", codecs[1], t.Result(t.nfsstat3.NFS3_OK, resok=resok), "00000000" + ok_hex),
        Case(f"{name} fail", codecs[1], t.Result(t.nfsstat3.NFS3ERR_ROFS, resfail=resfail), ROFS + fail_hex),
    ]


NEW = nfs3.NEWNODE3resok(HANDLE, ATTRIBUTES, NO_WCC)
NEW_HEX = "00000001" + FH + ATTR + NO_WCC_HEX
CASES: Sequence[Case] = [
    Case("uint32", uint32, 0x01020304, "01020304"),
    Case("uint64", uint64, 0x0102030405060708, "0102030405060708"),
    Case("true", boolean, True, "00000001"),
    Case("opaque of 0", Opaque(4), b"", "00000000"),
    Case("opaque of 3", Opaque(4), b"abc", "0000000361626300"),
    Case("opaque of 4", Opaque(4), b"abcd", "0000000461626364"),
    Case("absent", Optional(uint32), None, "00000000"),
    Case(
        "authsys_parms",
        AUTHSYS_PARMS,
        authsys_parms(1, b"host", 2, 3, [4, 5]),
        "00000001" + "00000004686f7374" + "00000002" + "00000003" + "00000002" + "0000000400000005",
    ),
    Case("GETATTR args", nfs3.GETATTR3[0], nfs3.GETATTR3args(HANDLE), FH),
    *results(nfs3.GETATTR3, ATTRIBUTES, ATTRIBUTES.hex(), None, "", "GETATTR"),
    Case(
        "SETATTR args",
        nfs3.SETATTR3[0],
        nfs3.SETATTR3args(HANDLE, MODE, t.nfstime3(8, 9)),
        FH + MODE_HEX + "000000010000000800000009",
    ),
    *results(nfs3.SETATTR3, WCC, WCC_HEX, NO_WCC, NO_WCC_HEX, "SETATTR"),
    Case("LOOKUP args", nfs3.LOOKUP3[0], nfs3.LOOKUP3args(NAME), WHERE),
    *results(
        nfs3.LOOKUP3, nfs3.LOOKUP3resok(HANDLE, ATTRIBUTES, None), FH + ATTR + "00000000", ATTRIBUTES, ATTR, "LOOKUP"
    ),
    Case("ACCESS args", nfs3.ACCESS3[0], nfs3.ACCESS3args(HANDLE, 0x3F), FH + "0000003f"),
    *results(nfs3.ACCESS3, nfs3.ACCESS3resok(None, 0x23), "0000000000000023", None, "00000000", "ACCESS"),
    Case("READLINK args", nfs3.READLINK3[0], nfs3.READLINK3args(HANDLE), FH),
    *results(
        nfs3.READLINK3, nfs3.READLINK3resok(None, b"to"), "00000000" + "00000002746f0000", None, "00000000", "READLINK"
    ),
    Case("READ args", nfs3.READ3[0], nfs3.READ3args(HANDLE, 1 << 40, 65536), FH + "0000010000000000" + "00010000"),
    *results(
        nfs3.READ3,
        nfs3.READ3resok(None, 3, True, [memoryview(b"abc")]),
        "00000000" + "00000003" + "00000001" + "0000000361626300",
        None,
        "00000000",
        "READ",
    ),
    Case(
        "WRITE args",
        nfs3.WRITE3[0],
        nfs3.WRITE3args(HANDLE, 1, 3, Choice(2), b"abc"),
        FH + "0000000000000001" + "00000003" + "00000002" + "0000000361626300",
    ),
    *results(
        nfs3.WRITE3,
        nfs3.WRITE3resok(NO_WCC, 3, 2, b"12345678"),
        NO_WCC_HEX + "00000003" + "00000002" + "3132333435363738",
        NO_WCC,
        NO_WCC_HEX,
        "WRITE",
    ),
    Case(
        "CREATE args", nfs3.CREATE3[0], nfs3.CREATE3args(NAME, Choice(1, NO_CHANGE)), WHERE + "00000001" + NO_CHANGE_HEX
    ),
    Case(
        "CREATE exclusive",
        nfs3.CREATE3[0],
        nfs3.CREATE3args(NAME, Choice(2, b"12345678")),
        WHERE + "000000023132333435363738",
    ),
    *results(nfs3.CREATE3, NEW, NEW_HEX, NO_WCC, NO_WCC_HEX, "CREATE"),
    Case("MKDIR args", nfs3.MKDIR3[0], nfs3.MKDIR3args(NAME, NO_CHANGE), WHERE + NO_CHANGE_HEX),
    *results(nfs3.MKDIR3, NEW, NEW_HEX, NO_WCC, NO_WCC_HEX, "MKDIR"),
    Case(
        "SYMLINK args",
        nfs3.SYMLINK3[0],
        nfs3.SYMLINK3args(NAME, NO_CHANGE, b"to"),
        WHERE + NO_CHANGE_HEX + "00000002746f0000",
    ),
    *results(nfs3.SYMLINK3, NEW, NEW_HEX, NO_WCC, NO_WCC_HEX, "SYMLINK"),
    Case(
        "MKNOD device",
        nfs3.MKNOD3[0],
        nfs3.MKNOD3args(NAME, Choice(4, nfs3.devicedata3(NO_CHANGE, nfs3.specdata3(1, 2)))),
        WHERE + "00000004" + NO_CHANGE_HEX + "0000000100000002",
    ),
    Case("MKNOD fifo", nfs3.MKNOD3[0], nfs3.MKNOD3args(NAME, Choice(7, NO_CHANGE)), WHERE + "00000007" + NO_CHANGE_HEX),
    Case("MKNOD file", nfs3.MKNOD3[0], nfs3.MKNOD3args(NAME, Choice(1)), WHERE + "00000001"),
    *results(nfs3.MKNOD3, NEW, NEW_HEX, NO_WCC, NO_WCC_HEX, "MKNOD"),
    Case("REMOVE args", nfs3.REMOVE3[0], nfs3.REMOVE3args(NAME), WHERE),
    *results(nfs3.REMOVE3, WCC, WCC_HEX, NO_WCC, NO_WCC_HEX, "REMOVE"),
    Case("RENAME args", nfs3.RENAME3[0], nfs3.RENAME3args(NAME, NAME), WHERE + WHERE),
    *results(
        nfs3.RENAME3,
        nfs3.RENAME3wcc(WCC, NO_WCC),
        WCC_HEX + NO_WCC_HEX,
        nfs3.RENAME3wcc(NO_WCC, NO_WCC),
        NO_WCC_HEX * 2,
        "RENAME",
    ),
    Case("LINK args", nfs3.LINK3[0], nfs3.LINK3args(HANDLE, NAME), FH + WHERE),
    *results(
        nfs3.LINK3,
        nfs3.LINK3wcc(ATTRIBUTES, NO_WCC),
        ATTR + NO_WCC_HEX,
        nfs3.LINK3wcc(None, NO_WCC),
        "00000000" * 3,
        "LINK",
    ),
    Case(
        "READDIR args",
        nfs3.READDIR3[0],
        nfs3.READDIR3args(HANDLE, 9, b"verifier", 4096),
        FH + "0000000000000009" + b"verifier".hex() + "00001000",
    ),
    *results(
        nfs3.READDIR3,
        nfs3.READDIR3resok(None, b"verifier", [nfs3.entry3(1, b".", 1), nfs3.entry3(2, b"ab", 5)], True),
        "00000000"
        + b"verifier".hex()
        + "00000001"
        + "0000000000000001"
        + "000000012e000000"
        + "0000000000000001"
        + "00000001"
        + "0000000000000002"
        + "0000000261620000"
        + "0000000000000005"
        + "00000000"
        + "00000001",
        None,
        "00000000",
        "READDIR",
    ),
    Case(
        "READDIRPLUS args",
        nfs3.READDIRPLUS3[0],
        nfs3.READDIRPLUS3args(HANDLE, 9, b"verifier", 512, 4096),
        FH + "0000000000000009" + b"verifier".hex() + "00000200" + "00001000",
    ),
    *results(
        nfs3.READDIRPLUS3,
        nfs3.READDIRPLUS3resok(None, b"verifier", [nfs3.entryplus3(2, b"ab", 5, ATTRIBUTES, HANDLE)], False),
        "00000000"
        + b"verifier".hex()
        + "00000001"
        + "0000000000000002"
        + "0000000261620000"
        + "0000000000000005"
        + ATTR
        + "00000001"
        + FH
        + "00000000"
        + "00000000",
        None,
        "00000000",
        "READDIRPLUS",
    ),
    Case("FSSTAT args", nfs3.FSSTAT3[0], nfs3.FSROOT3args(HANDLE), FH),
    *results(
        nfs3.FSSTAT3,
        nfs3.FSSTAT3resok(None, 1, 2, 3, 4, 5, 6, 7),
        "00000000" + "".join(f"{n:016x}" for n in range(1, 7)) + "00000007",
        None,
        "00000000",
        "FSSTAT",
    ),
    *results(
        nfs3.FSINFO3,
        nfs3.FSINFO3resok(None, 1, 2, 3, 4, 5, 6, 7, 8, t.nfstime3(0, 1), 10),
        "00000000" + "".join(f"{n:08x}" for n in range(1, 8)) + f"{8:016x}" + "0000000000000001" + "0000000a",
        None,
        "00000000",
        "FSINFO",
    ),
    *results(
        nfs3.PATHCONF3,
        nfs3.PATHCONF3resok(None, 1, 255, True, True, False, True),
        "00000000" + "00000001" + "000000ff" + "00000001" + "00000001" + "00000000" + "00000001",
        None,
        "00000000",
        "PATHCONF",
    ),
    Case("COMMIT args", nfs3.COMMIT3[0], nfs3.COMMIT3args(HANDLE, 1, 2), FH + "0000000000000001" + "00000002"),
    *results(
        nfs3.COMMIT3, nfs3.COMMIT3resok(NO_WCC, b"12345678"), NO_WCC_HEX + "3132333435363738", WCC, WCC_HEX, "COMMIT"
    ),
    Case("MNT args", mount3.DIRPATH, b"/maps", "000000052f6d617073000000"),
    Case(
        "MNT ok",
        mount3.MOUNTRES3,
        mount3.mountres3(mount3.mountstat3.MNT3_OK, mount3.mountres3_ok(HANDLE, [1, 0])),
        "00000000" + FH + "00000002" + "00000001" + "00000000",
    ),
    Case("MNT fail", mount3.MOUNTRES3, mount3.mountres3(mount3.mountstat3.MNT3ERR_NOTDIR), "00000014"),
    Case(
        "DUMP",
        mount3.MOUNTLIST,
        [mount3.mountbody(b"h", b"/a")],
        "00000001" + "0000000168000000" + "000000022f610000" + "00000000",
    ),
    Case(
        "EXPORT",
        mount3.EXPORTS,
        [mount3.exportnode(b"/a", [b"g"])],
        "00000001" + "000000022f610000" + "00000001" + "0000000167000000" + "00000000" + "00000000",
    ),
]
BY_NAME = pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])


@BY_NAME
def test_value_encodes_to_the_bytes(case: Case) -> None:
    assert encode_whole(case.codec, case.value).hex() == case.hex


@BY_NAME
def test_bytes_decode_to_the_value(case: Case) -> None:
    value, end = case.codec.decode(bytes.fromhex("ffffffff" + case.hex), 4)
    assert (value, end) == (case.value, 4 + len(case.hex) // 2)


@BY_NAME
def test_bytes_cut_short_anywhere_are_refused(case: Case) -> None:
    whole = bytes.fromhex(case.hex)
    for size in range(len(whole)):
        with pytest.raises(GarbageArgs):
            case.codec.decode(whole[:size], 0)


@BY_NAME
def test_bytes_left_over_are_refused(case: Case) -> None:
    with pytest.raises(GarbageArgs):
        decode_whole(case.codec, bytes.fromhex(case.hex + "00000000"), 0)


@pytest.mark.parametrize(
    ("codec", "hex_bytes"),
    [
        (boolean, "00000002"),
        (Opaque(4), "000000056162636465000000"),
        (Opaque(4), "ffffffff"),
        (Opaque(4), "0000000361626301"),
        (nfs3.GETATTR3[0], "00000041" + "00" * 68),
        (nfs3.CREATE3[0], WHERE + "00000003"),
        (nfs3.SETATTR3[0], FH + "00000000" * 4 + "00000003"),
        (AUTHSYS_PARMS, "00000001" + "00000000" * 3 + "00000011" + "00000000" * 17),
        (mount3.EXPORTS, "00000001" * 4 + "00000000" * 3),
    ],
)
def test_broken_bounds_are_refused(codec: Codec[Any], hex_bytes: str) -> None:
    with pytest.raises(GarbageArgs):
        decode_whole(codec, bytes.fromhex(hex_bytes), 0)


def test_fattr3_takes_84_bytes() -> None:
    assert t.FATTR3.size == t.FATTR3_BYTES == 84
