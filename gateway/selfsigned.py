"""A certificate that a gateway vouches for itself with: for a first start, a home network, or tests.

It is worth as much as the way by which its fingerprint, or the file itself, reaches those who are to trust it. It
cannot vouch for any other. Plain functions; any thread.
"""

import contextlib
import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.config import ConfigError
from gateway.errors import CertificateTaken
from gateway.whole_file import replace_file

CERT: Final = "cert.pem"
KEY: Final = "key.pem"
DAYS: Final = 365
MOST_DAYS: Final = 3650
SKEW: Final = datetime.timedelta(hours=1)  # clocks of clients may be behind
LONGEST: Final = 253  # characters of a host's name (RFC 1035 section 2.3.4)
_COMMON: Final = 64  # characters of a subject's common name (RFC 5280 appendix A.1)


class SelfSigned(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    hosts: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as browsers show it: `AB:CD:...`."""
        return self.certificate.fingerprint(SHA256()).hex(":").upper()


def own_hosts() -> tuple[str, ...]:
    """Return the names by which this machine is reached, from itself and perhaps from others."""
    name = socket.gethostname()
    return tuple(dict.fromkeys((*((name,) if _is_host(name) else ()), "localhost", "127.0.0.1", "::1")))


def make_certificate(hosts: Sequence[str], days: int = DAYS) -> SelfSigned:
    """Make a key (P-256) and its certificate.

    Args:
        hosts: names and addresses that clients will use; at least one.
        days: how long it is good, from now.

    Raises:
        ConfigError: a host is none, or the days are too few or many.
    """
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"--days: from 1 to {MOST_DAYS}, got {days}")
    names = [_name(host) for host in hosts]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:_COMMON])])
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    signing = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return SelfSigned(certificate, key, tuple(hosts))


def write_certificate(made: SelfSigned, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write both to files, each whole or not at all; the key can be read by its owner alone.

    Returns:
        Where the certificate and the key are.

    Raises:
        CertificateTaken: there is one, and not `force`.  OSError: they can't be written.
    """
    cert, key = folder / CERT, folder / KEY
    for path in (cert, key):
        if not force and os.path.lexists(path):
            raise CertificateTaken(str(path))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    replace_file(key, secret)
    replace_file(cert, made.certificate.public_bytes(Encoding.PEM), mode=0o644)
    return cert, key


def _name(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    if not _is_host(host):
        raise ConfigError(f"--host: {host[:80]!r} is neither a host's name nor an address")
    return x509.DNSName(host)


def _is_host(host: str) -> bool:
    labels = host.removeprefix("*.").split(".")
    return len(host) <= LONGEST and all(
        0 < len(label) < 64
        and label.isascii()
        and label.replace("-", "").replace("_", "").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
        for label in labels
    )
