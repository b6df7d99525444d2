"""How a listener speaks TLS: certificate, key and who may vouch for clients, from files that may change while it runs.

TLS 1.2 with forward secrecy (ECDHE and an AEAD alone) and 1.3; no renegotiation, no compression. The client's own name
for the server (SNI) decides nothing. Files are read whole before anything is made of them, so that a certificate and a
key that are exchanged one after another are never mixed: a pair that does not fit is refused, and the old one stays.

Tickets that clients resume with are sealed by a key that lives as long as a context: a new one is made twice a day.
Where clients show certificates nothing is resumed, so that each connection is checked by what holds at its time.

Threads: `Contexts.current` may be asked by any; `watch` runs in one of its own.
"""

import contextlib
import datetime
import os
import stat
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL, crypto

from gateway.config import ConfigError
from gateway.guarded_files import why_not

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; 1.3 has none but good ones
LOOK_S: Final = 1.0  # between two looks at the files
RENEW_S: Final = 12 * 3600.0  # life of the key of tickets
SOON: Final = datetime.timedelta(
    days=14
)  # a certificate that ends within it is warned of, or within a fifth of its life
LARGEST: Final = 4 << 20  # bytes of a file; revocation lists can be long
MARK: Final = b"-----BEGIN "
_PARTIAL_WRITE: Final = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE (openssl/ssl.h), which pyOpenSSL sets and does not name

_log = structlog.stdlib.get_logger("aetherfs.tls")


class TlsRefused(Exception):
    """Files that no listener can speak TLS with. The message is finished."""


class TlsFiles(NamedTuple):
    """Where a listener's certificate and key are."""

    cert: str  # PEM: the certificate, then those that lead to its root
    key: str  # PEM, not encrypted
    client_ca: str = ""  # PEM: who may vouch for clients, and their revocation lists; empty: clients show none


class NotOffered:
    """Marks a connection whose client speaks none of the protocols that are spoken here (RFC 7301 section 3.2)."""


NOT_OFFERED: Final = NotOffered()


def make_context(files: TlsFiles, protocols: Sequence[bytes] = (b"http/1.1",)) -> SSL.Context:
    """Read the files and return what connections are made of.

    Args:
        files: where from.
        protocols: names (ALPN) of what is spoken inside; a client that offers others alone is marked `NOT_OFFERED`.

    Raises:
        TlsRefused: a file is not there or can't be read as what it should be, or key and certificate do not fit.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_PARTIAL_WRITE)  # a piece is many records: they are made by one call
    context.set_session_id(b"aetherfs")
    _use_own(context, files)
    if files.client_ca:
        _use_clients(context, files.client_ca)

    def choose(connection: SSL.Connection, offered: list[bytes]) -> "bytes | SSL.NoOverlappingProtocols":  # type: ignore[name-defined]  # pyOpenSSL keeps the class to itself
        for name in protocols:
            if name in offered:
                return name
        connection.set_app_data(NOT_OFFERED)  # an error that is raised here may reach another connection's thread
        return SSL.NO_OVERLAPPING_PROTOCOLS

    context.set_alpn_select_callback(choose)
    return context


def _use_own(context: SSL.Context, files: TlsFiles) -> None:
    try:
        chain = x509.load_pem_x509_certificates(read_file(files.cert))
    except ValueError as error:
        raise TlsRefused(f"{files.cert} holds no certificate that can be read (PEM)") from error
    try:
        key = serialization.load_pem_private_key(read_file(files.key, guarded=True), None)
    except TypeError as error:
        raise TlsRefused(
            f"{files.key} holds a private key that is encrypted: `openssl pkey` makes one of it that is not"
        ) from error
    except ValueError as error:
        raise TlsRefused(f"{files.key} holds no private key that can be read (PEM, not encrypted)") from error
    except UnsupportedAlgorithm as error:
        raise TlsRefused(f"{files.key} holds no private key that can be used: {error}") from error
    _check_pair(chain, key, files)
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)  # type: ignore[arg-type]  # OpenSSL refuses keys that are not for signatures
        context.check_privatekey()
    except (SSL.Error, crypto.Error, TypeError) as error:  # a key that is too short, or of a kind that signs nothing
        raise TlsRefused(f"OpenSSL does not take {files.cert} with {files.key}: {_reason(error)}") from error


def _check_pair(chain: list[x509.Certificate], key: PrivateKeyTypes, files: TlsFiles) -> None:
    """Check that the key is that of the first certificate.

    Raises:
        TlsRefused: it is not.
    """
    own, *certified = (_encoded(one) for one in (key, *chain))
    if own == certified[0]:
        return
    if own in certified:
        raise TlsRefused(f"in {files.cert} the certificate of the key in {files.key} has to come first")
    raise TlsRefused(f"the key in {files.key} is not that of the certificate in {files.cert}")


def _encoded(holder: PrivateKeyTypes | x509.Certificate) -> bytes:
    """Return the public key that a private one or a certificate has; empty: of a kind that is not known here."""
    try:
        key = holder.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _reason(error: Exception) -> str:
    """Return why, in OpenSSL's words: it tells a list of (library, function, reason)."""
    told = error.args[0] if error.args else ""
    return ", ".join(reason for _, _, reason in told) if isinstance(told, list) else str(error)


def _use_clients(context: SSL.Context, path: str) -> None:
    store = context.get_cert_store()
    if store is None:  # pragma: no cover
        raise TlsRefused("OpenSSL gives no place for the certificates of those who vouch for clients")
    found = 0
    revoking = False
    for kind, block in blocks_of(path):
        try:
            if kind == b"CERTIFICATE":
                issuer = x509.load_pem_x509_certificate(block)
                store.add_cert(crypto.X509.from_cryptography(issuer))
                context.add_client_ca(issuer)
                found += 1
            elif kind == b"X509 CRL":
                store.add_crl(x509.load_pem_x509_crl(block))
                revoking = True
        except (ValueError, crypto.Error) as error:
            raise TlsRefused(f"{path} holds something that can't be read: {error}") from error
    if not found:
        raise TlsRefused(f"{path} holds no certificate (PEM) of anybody who could vouch for clients")
    if revoking:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    context.set_verify(SSL.VERIFY_PEER)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)


def blocks_of(path: str) -> list[tuple[bytes, bytes]]:
    """Return what a PEM file holds: the kind and the text of each block."""
    found = []
    for part in read_file(path, guarded=True).split(MARK)[1:]:
        kind, _, _ = part.partition(b"-----")
        end = b"-----END %s-----" % kind
        found.append((kind, MARK + part.partition(end)[0] + end + b"\n"))
    return found


def read_file(path: str, *, guarded: bool = False) -> bytes:
    """Return what a file holds.

    Raises:
        TlsRefused: it can't be read, or is too large; or, with `guarded`, others may change it.
    """
    try:
        with open(path, "rb") as file:
            why = why_not(os.fstat(file.fileno()), path) if guarded else ""
            if why:
                raise TlsRefused(why)
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise TlsRefused(f"{path} can't be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise TlsRefused(f"{path} is larger than {LARGEST} bytes")
    return data


def ageing(certificate: x509.Certificate, now: datetime.datetime | None = None) -> str:
    """Say of a certificate that it is good no longer, not yet, or for a short while; empty: nothing is to be said."""
    now = now or datetime.datetime.now(datetime.UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        return f"certificate has expired at {ends:%Y-%m-%dT%H:%M:%SZ}: clients refuse it"
    if now < begins:
        return f"certificate is good from {begins:%Y-%m-%dT%H:%M:%SZ} on alone: clients refuse it until then"
    if ends - now < min(SOON, (ends - begins) / 5):
        return f"certificate expires at {ends:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def contexts_of(section: str, files: TlsFiles, protocols: Sequence[bytes]) -> "Contexts":
    """Read the files that the settings of a section name.

    Raises:
        ConfigError: one is missing or no good.
    """
    for name, path in (("tls_cert", files.cert), ("tls_key", files.key)):
        if not path:
            raise ConfigError(f"{section}.{name}: TLS needs this file, too")
    try:
        return Contexts(files, protocols)
    except TlsRefused as error:
        raise ConfigError(f"{section}.tls_cert, {section}.tls_key, {section}.client_ca: {error}") from error


class Contexts:
    """What new connections are made of, kept equal to the files. Connections that are open stay as they are."""

    def __init__(self, files: TlsFiles, protocols: Sequence[bytes] = (b"http/1.1",)) -> None:
        """Read the files.

        Raises:
            TlsRefused: see `make_context`.
        """
        self._files, self._protocols = files, protocols
        self._seen = self._state()
        self.current = make_context(files, protocols)
        self._made_s = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._warn()

    @property
    def files(self) -> TlsFiles:
        """Say from where."""
        return self._files

    def watch(self) -> None:
        """Look at the files from now on."""
        self._thread = threading.Thread(target=self._watch, name="tls-files", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Read the files again if they have changed, or the key of tickets is old. What can't be used is told once."""
        state = self._state()
        old = time.monotonic() - self._made_s > RENEW_S
        if state == self._seen and not old:
            return
        changed, self._seen = state != self._seen, state
        try:
            self.current = make_context(self._files, self._protocols)
        except TlsRefused as error:
            if changed:
                _log.error("certificate not taken, the old one stays", why=str(error))
            if old:  # without files there is no new key of tickets: the old one is used no more
                self.current.set_options(SSL.OP_NO_TICKET)
            return
        self._made_s = time.monotonic()
        self._warn()
        if changed:
            _log.info("certificate read again", file=self._files.cert)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:  # the thread's shell: the files go on being looked at
                _log.error("certificate not taken, the old one stays", exc_info=error)

    def _state(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in self._files:
            at: object = None
            with contextlib.suppress(OSError):
                if path:
                    seen = os.stat(path)
                    at = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
            found.append(at)
        return tuple(found)

    def _warn(self) -> None:
        """Say of new files, and twice a day of those that stay, what clients will not like."""
        with contextlib.suppress(TlsRefused, ValueError):  # gone since they were read
            said = ageing(x509.load_pem_x509_certificates(read_file(self._files.cert))[0])
            if said:
                _log.warning(said, file=self._files.cert)
        with contextlib.suppress(OSError):
            if os.stat(self._files.key).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                _log.warning("private key can be read by every user of this machine", file=self._files.key)
