"""Certificates and keys of listeners: which are refused and why, and what is said of those that age."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from structlog.testing import capture_logs

from gateway.tls import Contexts, TlsFiles, TlsRefused, ageing

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])


def signed(
    key: CertificateIssuerPrivateKeyTypes, begins: datetime.datetime, ends: datetime.datetime
) -> x509.Certificate:
    unsigned = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    return unsigned.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())


def written(
    folder: Path, key: CertificateIssuerPrivateKeyTypes, *chain: x509.Certificate,
    sealed: KeySerializationEncryption | None = None,
) -> TlsFiles:  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed or NoEncryption()))
    key_file.chmod(0o600)
    return TlsFiles(str(cert_file), str(key_file))


def lasting(key: CertificateIssuerPrivateKeyTypes) -> x509.Certificate:
    return signed(key, NOW - 3650 * DAY, NOW + 36500 * DAY)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p521", "ed25519"])
def test_keys_of_the_usual_kinds_are_taken(tmp_path: Path, kind: str) -> None:
    key: CertificateIssuerPrivateKeyTypes
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP521R1())
    with capture_logs() as logs:
        assert Contexts(written(tmp_path, key, lasting(key))).current is not None
    assert not logs


def test_a_key_that_is_too_short_is_refused_for_that(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)  # the test is that nobody gets far with it
    with pytest.raises(TlsRefused, match="key too small"):
        Contexts(written(tmp_path, key, lasting(key)))


def test_an_encrypted_key_is_refused_with_what_to_do(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(TlsRefused, match="is encrypted: `openssl pkey`") as caught:
        Contexts(written(tmp_path, key, lasting(key), sealed=BestAvailableEncryption(b"a secret")))
    assert "secret" not in str(caught.value)


def test_a_chain_in_the_wrong_order_is_refused_for_that(tmp_path: Path) -> None:
    own, above, third = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    with pytest.raises(TlsRefused, match="has to come first"):
        Contexts(written(tmp_path, own, lasting(above), lasting(own)))
    with pytest.raises(TlsRefused, match="is not that of the certificate"):
        Contexts(written(tmp_path, third, lasting(above), lasting(own)))


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-365 * DAY, -DAY, "has expired at 2026-11-25T12:00:00Z"),
        (DAY, 90 * DAY, "is good from 2026-11-27T12:00:00Z on alone"),
        (-80 * DAY, 10 * DAY, "expires at 2026-12-06T12:00:00Z"),
        (-60 * DAY, 30 * DAY, ""),
        (-2 * DAY, 4 * DAY, ""),  # one that lives for six days in all
        (-5 * DAY, DAY, "expires at 2026-11-27T12:00:00Z"),
    ],
)
def test_a_certificate_that_clients_refuse_or_will_soon_is_told_of(
    begins: datetime.timedelta, ends: datetime.timedelta, said: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    found = ageing(signed(key, NOW + begins, NOW + ends), NOW)
    assert said in found
    assert bool(said) == bool(found)


def test_an_expired_certificate_is_warned_of_at_the_start_and_when_it_comes(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = signed(key, NOW - 9000 * DAY, NOW - 8000 * DAY)
    with capture_logs() as logs:
        contexts = Contexts(written(tmp_path, key, old))
        written(tmp_path, key, lasting(key))
        contexts.look()
        written(tmp_path, key, old)
        contexts.look()
    told = [log["log_level"] for log in logs if "has expired" in log["event"]]
    assert told == ["warning", "warning"]


def test_the_key_of_tickets_does_not_outlive_its_time_where_no_new_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    contexts = Contexts(written(tmp_path, key, lasting(key)))
    first = contexts.current
    (tmp_path / "key.pem").write_bytes(b"half a key")
    contexts.look()
    assert not first.set_options(0) & SSL.OP_NO_TICKET
    monkeypatch.setattr("gateway.tls.RENEW_S", -1.0)
    contexts.look()
    assert contexts.current is first
    assert first.set_options(0) & SSL.OP_NO_TICKET
    written(tmp_path, key, lasting(key))
    contexts.look()
    assert not contexts.current.set_options(0) & SSL.OP_NO_TICKET
