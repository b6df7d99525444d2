"""Somebody who vouches for servers and clients by certificates, and takes them back."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    pem: bytes
    key: bytes  # PEM

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """The key itself."""
        return cast("ec.EllipticCurvePrivateKey", load_pem_private_key(self.key, None))

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both to files; return where."""
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        for file, data in ((cert, self.pem), (key, self.key)):
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(data)
            fresh.replace(file)
        return cert, key


class Authority:
    """One that signs."""

    def __init__(self, name: str = "authority of tests", above: "Authority | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        root = above or self
        unsigned = _begun(self._name, root._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        subject = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        signed = unsigned.add_extension(usage, True).add_extension(subject, False).sign(root._key, SHA256())
        self.pem = signed.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        emails: Sequence[str] = (),
        hosts: Sequence[str] = (),
        uris: Sequence[str] = (),
        client: bool = False,
        expired: bool = False,
    ) -> Issued:
        """Sign a certificate for a server, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
        alternative += [x509.RFC822Name(one) for one in emails]
        alternative += [x509.DNSName(one) for one in hosts]
        alternative += [x509.UniformResourceIdentifier(one) for one in uris]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _begun(_named(name), self._name, key, DAY / 2 if expired else 30 * DAY)
            .add_extension(x509.SubjectAlternativeName(alternative), False)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(above, False)
            .sign(self._key, SHA256())
        )
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(certificate, certificate.public_bytes(Encoding.PEM), text)

    def revoking(self, *issued: Issued) -> bytes:
        """Sign the list (PEM) of those whose certificates are good no more."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now - DAY)
        builder = builder.next_update(now + DAY)
        for one in issued:
            revoked = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(now - DAY).build())
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    name: x509.Name, above: x509.Name, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta = 30 * DAY
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now - DAY + life)
    )
