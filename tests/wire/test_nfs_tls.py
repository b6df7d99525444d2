"""What Linux said when it asked for TLS, and what it was told: bytes that were captured between them.

Linux 6.12 (Debian 13) with ktls-utils 1.0.0 (GnuTLS): mount.nfs -o vers=3,xprtsec=tls against this server.
"""

from pathlib import Path

from nfs.dispatch import Runnable, parse
from nfs.tls import SecureStream, Tls, refusal
from nfs.wire.record import RecordReader
from nfs.wire.rpc import AUTH_TLS, starttls
from tests.support.tls_client import Place

PROBE = bytes.fromhex("80000028f4addffb0000000000000002000186a3000000030000000000000007000000000000000000000000")
STARTTLS = bytes.fromhex("80000020f4addffb000000010000000000000000000000085354415254544c5300000000")
CLIENT_HELLO = bytes.fromhex(
    "160301015b0100015703030c8581ba449f0960f26b3d32f0f16ad21642bb569d655122c71025557317ec74204453b3c8"
    "b4cdded24fb4930e5ff22e79381d0eaf0011d46d0df5b70bfe0f499f0008130213031301130401000106ff0100010000"
    "16000000170000000b00020100000a00160014001800190017001d001e01040100010101020103002b00030203040000"
    "000e000c0000093139322e302e322e32001c000240010033008b00890018006104717ef41bd187dd225dbdca8c048a45"
    "af630d4a499176f661ccf15ad0e2c58d4f299a9b475ed2ba8f1b7539f7573a64686b12775e1de11c6aa84cea6b1083a8"
    "1129e5ac79199c27c01d7f79a9919e750b6b5ab3f8a6c2deff736783f147f5d29b001d0020735fccd8cc12582387a0b3"
    "a7761d1e6393b81c85f189bb5107bda13fd5e4b36b000500050100000000000d001e001c0501080a0805050308080601"
    "080b0806060304010809080404030807"
)


def test_the_probe_of_linux_is_one_and_gets_the_answer_that_it_took(tmp_path: Path) -> None:
    reader = RecordReader(1000)
    reader.room()[: len(PROBE)] = PROBE
    (record,) = reader.received(len(PROBE))
    assert not reader.partial
    runnable = parse(record)
    assert isinstance(runnable, Runnable)
    call = runnable.call
    assert (call.flavor, call.proc, call.args_at) == (AUTH_TLS, 0, len(record))
    assert refusal(call, Tls(Place(tmp_path).contexts, required=True), secured=False) is None
    assert starttls(call.xid) == STARTTLS


def test_the_handshake_of_linux_is_answered_with_tls_1_3(tmp_path: Path) -> None:
    stream = SecureStream(Place(tmp_path).contexts.current)
    stream.room[: len(CLIENT_HELLO)] = CLIENT_HELLO
    stream.received(len(CLIENT_HELLO))
    assert not stream.partial
    answer = stream.handshake()
    assert answer[:3] == bytes.fromhex("16 0303")
    assert bytes.fromhex("002b 0002 0304") in answer[: 5 + int.from_bytes(answer[3:5], "big")]  # supported_versions
    assert not stream.ready
