"""Certificates and the file that says whose they are, from any bytes: a value or a documented error."""

import contextlib

from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from auth.certificates import CertificatesError, holder, parse_certificates
from auth.errors import BadCredentials
from tests.fuzz.test_store_decoders import damaged
from tests.support.authority import Authority

ISSUED = Authority().issue(
    "x", emails=["a@b.org"], hosts=["c.org"], uris=["d://e"], addresses=["192.0.2.7"], client=True
)
DER = ISSUED.certificate.public_bytes(Encoding.DER)
FILE = b"# whose\nemail:a@b.org a\ndns:c.org b c\nuri:d://e f\nip:192.0.2.7 h\nsha256:%s g\n" % (b"0f" * 32)


@given(st.one_of(st.binary(), damaged(DER)), st.booleans())
def test_any_certificate_is_somebodys_or_nobodys(der: bytes, mapped: bool) -> None:
    with contextlib.suppress(BadCredentials):
        holder(der, {"email:a@b.org": "a", "dns:c.org": "a", "ip:192.0.2.7": "a"} if mapped else None)


@given(st.one_of(st.binary(), damaged(FILE)))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CertificatesError):
        parse_certificates(data)
