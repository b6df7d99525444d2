"""Whose a client's certificate is.

    # a comment
    sha256:5891b5b5...   ada          the certificate with this fingerprint
    email:ada@example.org   ada       one with this subject alternative name (RFC 5280 section 4.2.1.6)
    dns:build.example.org   builder
    uri:spiffe://example.org/ci   ci
    ip:192.0.2.7   node7
    cn:ada   ada                      one without alternative names, by its subject's common name

UTF-8, a line each: what the certificate shows, white space, the user. A fingerprint decides before names do. Names of
one certificate that stand for several users stand for none. Without a file the certificate's first e-mail address is
the user, else its first URI, else its first DNS name. The subject's own name, which no two authorities write alike, is
looked at where there are no alternative names at all (a quick `openssl req -subj /CN=ada`), and only if it has one
common name. That a certificate is good, and at its time, is what TLS has found out before. Pure; any thread.
"""

import hashlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from auth.errors import BadCredentials
from auth.principal import LONGEST_NAME, Principal, is_name, user

LARGEST: Final = 4 << 20  # bytes of a file
NAMES: Final = 100  # of one certificate that are looked at
KINDS: Final = ("sha256", "email", "dns", "uri", "ip", "cn")


class CertificatesError(ValueError):
    """A file of certificates cannot be used. The message is finished and names the line."""


def parse_certificates(data: bytes) -> Mapping[str, str]:
    """Read a file.

    Returns:
        What a certificate shows, such as `email:ada@example.org`, in the spelling that is compared -> user.

    Raises:
        CertificatesError: it cannot be used.
    """
    if len(data) > LARGEST:
        raise CertificatesError(f"larger than {LARGEST} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CertificatesError(f"not UTF-8 at byte {error.start}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        kind, _, value = words[0].partition(":")
        name = words[1].strip() if len(words) == 2 else ""
        if kind.lower() not in KINDS or not value:
            raise CertificatesError(f"line {number}: begins with none of {', '.join(f'{kind}:' for kind in KINDS)}")
        if not is_name(name):
            raise CertificatesError(f"line {number}: no user's name of 1 to {LONGEST_NAME} characters after it")
        try:
            key = _spelled(kind.lower(), value)
        except ValueError as error:
            raise CertificatesError(f"line {number}: {value[:80]!r} is no address") from error
        if kind.lower() == "sha256" and (len(key) != 71 or set(key[7:]) - set("0123456789abcdef")):
            raise CertificatesError(f"line {number}: a fingerprint has 64 hexadecimal digits")
        if found.setdefault(key, name) != name:
            raise CertificatesError(f"line {number}: {words[0][:200]!r} stands for another user already")
    return found


def holder(der: bytes, users: Mapping[str, str] | None) -> Principal:
    """Tell whose a certificate is.

    Args:
        der: the certificate, which TLS has verified.
        users: of `parse_certificates`; `None`: the certificate says itself.

    Raises:
        BadCredentials: nobody's that is known, or it can't be read.
    """
    fingerprint = f"sha256:{hashlib.sha256(der).hexdigest()}"
    if users is not None and fingerprint in users:
        return user(users[fingerprint])
    try:
        shown = list(_shown(der))
    except (ValueError, TypeError) as error:  # whatever a parser says of bytes that others wrote
        raise BadCredentials(f"certificate {fingerprint} can't be read") from error
    if users is None:
        for wanted in ("email", "uri", "dns", "cn"):
            for kind, value in shown:
                if kind == wanted and is_name(value):
                    return user(value)
        raise BadCredentials(f"certificate {fingerprint} names no e-mail address, URI or DNS name")
    found = {users[key] for key in (_spelled(kind, value) for kind, value in shown) if key in users}
    if len(found) != 1:
        raise BadCredentials(f"certificate {fingerprint} is {'several users' if found else 'nobody'}")
    return user(found.pop())


def _shown(der: bytes) -> Iterator[tuple[str, str]]:
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(common) == 1:
            yield "cn", str(common[0].value)
        return
    for name in list(names)[:NAMES]:
        if isinstance(name, x509.RFC822Name):
            yield "email", name.value
        elif isinstance(name, x509.DNSName):
            yield "dns", name.value
        elif isinstance(name, x509.UniformResourceIdentifier):
            yield "uri", name.value
        elif isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address):  # and no network
            yield "ip", str(name.value)


def _spelled(kind: str, value: str) -> str:
    """Write what a certificate shows so that the same is written alike: hosts have no case, mailboxes have.

    Raises:
        ValueError: it is no IP address, and should be one.
    """
    if kind == "sha256":
        value = value.replace(":", "").lower()
    elif kind == "dns":
        value = value.lower()
    elif kind == "email":
        box, at, host = value.rpartition("@")
        value = f"{box}{at}{host.lower()}"
    elif kind == "ip":
        value = str(ip_address(value))
    return f"{kind}:{value}"
