"""Whose a client's certificate is."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from auth.certificates import CertificatesError, holder, parse_certificates
from auth.errors import BadCredentials
from auth.principal import user
from tests.support.authority import Authority

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue(
    "Ada Lovelace",
    emails=["Ada@Example.org", "second@example.org"],
    hosts=["Build.example.org"],
    uris=["spiffe://example.org/ci"],
    addresses=["192.0.2.7", "fd00::7"],
    client=True,
)
DER = ISSUED.certificate.public_bytes(Encoding.DER)


def fingerprint() -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return ISSUED.certificate.fingerprint(SHA256()).hex()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"emails": ["a@b.org"], "uris": ["x://y"], "hosts": ["c.org"]}, "a@b.org"),
        ({"uris": ["x://y"], "hosts": ["c.org"]}, "x://y"),
        ({"hosts": ["c.org", "d.org"]}, "c.org"),
    ],
)
def test_a_certificate_says_itself_whose_it_is(names: dict[str, list[str]], expected: str) -> None:
    issued = AUTHORITY.issue("somebody", client=True, **names)  # type: ignore[arg-type]  # of the three alone
    assert holder(issued.certificate.public_bytes(Encoding.DER), None) == user(expected)


def test_the_subject_and_addresses_name_nobody() -> None:
    issued = AUTHORITY.issue("ada", addresses=["192.0.2.1"], client=True)
    with pytest.raises(BadCredentials):
        holder(issued.certificate.public_bytes(Encoding.DER), None)


def test_the_common_name_counts_where_there_are_no_others() -> None:
    der = bare("ada").public_bytes(Encoding.DER)
    assert holder(der, None) == user("ada")
    assert holder(der, parse_certificates(b"cn:ada Ada Lovelace")) == user("Ada Lovelace")
    for users in (parse_certificates(b"cn:Ada eve"), parse_certificates(b"dns:ada eve"), {}):
        with pytest.raises(BadCredentials, match="nobody"):
            holder(der, users)
    with pytest.raises(BadCredentials):  # which of two is meant is not told
        holder(bare("ada", "eve").public_bytes(Encoding.DER), None)
    with pytest.raises(BadCredentials):
        holder(bare("ada ").public_bytes(Encoding.DER), None)
    with pytest.raises(BadCredentials, match="nobody"):  # of one that has alternative names they alone count
        holder(DER, parse_certificates(b"cn:Ada Lovelace ada"))


def bare(*common_names: str) -> x509.Certificate:
    """Return a certificate without alternative names."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, SHA256())


@pytest.mark.parametrize(
    "line",
    [
        "email:Ada@EXAMPLE.org ada",
        "dns:build.example.org\tada",
        "uri:spiffe://example.org/ci   ada  ",
        "ip:192.0.2.7 ada",
        "ip:FD00:0::7 ada",
        f"sha256:{fingerprint()} ada",
        "SHA256:" + ":".join(fingerprint()[at : at + 2].upper() for at in range(0, 64, 2)) + " ada",
    ],
    ids=["email", "dns", "uri", "IPv4", "IPv6", "sha256", "sha256 by colons"],  # it is another one in each process
)
def test_a_file_says_whose_it_is(line: str) -> None:
    users = parse_certificates(f"# whose\n\n{line}\nemail:bob@example.org bob\n".encode())
    assert holder(DER, users) == user("ada")


@pytest.mark.parametrize("line", ["email:ada@example.org ada", "dns:example.org ada", "uri:spiffe://example.org ada"])
def test_what_is_not_quite_the_same_is_somebody_else(line: str) -> None:
    with pytest.raises(BadCredentials, match="nobody"):
        holder(DER, parse_certificates(line.encode()))


def test_names_of_several_users_stand_for_none_but_the_fingerprint_decides() -> None:
    lines = "email:Ada@example.org ada\ndns:build.example.org builder\n"
    with pytest.raises(BadCredentials, match="several"):
        holder(DER, parse_certificates(lines.encode()))
    assert holder(DER, parse_certificates(f"{lines}sha256:{fingerprint()} carol\n".encode())) == user("carol")


def test_names_of_a_user_may_hold_spaces() -> None:
    assert holder(DER, parse_certificates(b"dns:build.example.org Ada Lovelace\r\n")) == user("Ada Lovelace")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ada@example.org ada", "begins with none"),
        ("subject:ada ada", "begins with none"),
        ("email: ada", "begins with none"),
        ("email:ada@example.org", "no user"),
        ("sha256:12 ada", "64"),
        ("sha256:" + "g" * 64 + " ada", "64"),
        ("email:a@b.org a\nemail:a@B.org b", "line 2: .* another user"),
        ("email:a@b.org " + "x" * 300, "no user"),
        ("email:a@b.org a\x07b", "no user"),
        ("email:a@b.org a\nip:192.0.2.0/24 b", "line 2: '192.0.2.0/24' is no address"),
    ],
)
def test_a_file_that_is_not_plain_is_refused(line: str, why: str) -> None:
    with pytest.raises(CertificatesError, match=why):
        parse_certificates(line.encode())


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(CertificatesError, match="UTF-8"):
        parse_certificates(b"email:\xff ada")


def test_bytes_that_are_no_certificate_are_nobody() -> None:
    with pytest.raises(BadCredentials):
        holder(b"\x30\x03\x02\x01\x00", None)
