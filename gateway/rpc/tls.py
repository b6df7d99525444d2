"""TLS as gRPC has it: certificate and key from files, read again for new connections when they change.

gRPC brings a TLS of its own (BoringSSL): 1.2 with forward secrecy alone, and 1.3. What is wrong with files is found out
by `gateway.tls` as for HTTP, before gRPC gets them: a pair that does not fit leaves the one before in place.

With `client_ca` gRPC demands a certificate of each client, for in Python it can only do this or ask for none. It knows
no revocation lists, and looks at a certificate only when a connection begins. So each call's certificate is held
against the file's certificates and lists of the moment. Any thread.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto

from auth.errors import BadCredentials
from gateway.tls import Contexts, TlsRefused, blocks_of, read_file

KEPT: Final = 4096  # certificates that were held against the file
KEPT_S: Final = 60.0  # s, for so long

_log = structlog.stdlib.get_logger("aetherfs.grpc")


class Credentials:
    """What gRPC's listener speaks TLS with."""

    def __init__(self, contexts: Contexts) -> None:
        """Read the files.

        Args:
            contexts: of the same files; watches them.

        Raises:
            TlsRefused: they changed meanwhile, and can't be used.
        """
        self._contexts = contexts
        self._made_of = contexts.current
        first = self._configuration()
        self.server = grpc.dynamic_ssl_server_credentials(
            first,
            self._fetch,  # type: ignore[arg-type]  # None is for what stays (its docstring)
            require_client_authentication=bool(contexts.files.client_ca),
        )

    def _fetch(self) -> "grpc.ServerCertificateConfiguration | None":
        """Return what new connections are to have, `None` for what they had. Called for each of them."""
        current = self._contexts.current
        if current is self._made_of:
            return None
        try:
            coming = self._configuration()
        except TlsRefused as error:  # they change at this very moment: the next connection asks again
            _log.warning("certificate not taken yet, the old one stays", why=str(error))
            return None
        self._made_of = current
        return coming

    def _configuration(self) -> "grpc.ServerCertificateConfiguration":
        files = self._contexts.files
        cert, key = read_file(files.cert), read_file(files.key)
        if not _fit(cert, key):
            raise TlsRefused(f"the key in {files.key} is not that of the certificate in {files.cert}")
        issuers = None
        if files.client_ca:
            issuers = b"".join(block for kind, block in blocks_of(files.client_ca) if kind == b"CERTIFICATE")
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=issuers)


def _fit(cert: bytes, key: bytes) -> bool:
    try:
        public = x509.load_pem_x509_certificate(cert).public_key()
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(*form) == public.public_bytes(*form)


class Vouched:
    """Tells whether certificates still hold: by the file of those who vouch for clients, and its revocation lists."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._lock = threading.Lock()
        self._good: OrderedDict[bytes, float] = OrderedDict()  # certificate -> until when it is taken for good
        self._good_by: SSL.Context | None = None

    def verify(self, own: x509.Certificate, others: Sequence[x509.Certificate]) -> None:
        """Go on only if a certificate holds.

        Args:
            own: the client's, which it has shown to have the key of.
            others: that the client sent to lead to one of the file's.

        Raises:
            BadCredentials: it does not, or not any more.
        """
        context, now_s = self._contexts.current, time.monotonic()
        der = own.public_bytes(Encoding.DER)
        with self._lock:
            if self._good_by is not context:
                self._good.clear()
                self._good_by = context
            if self._good.get(der, 0.0) > now_s:
                return
        store = context.get_cert_store()
        if store is None:  # pragma: no cover
            raise BadCredentials("nobody vouches for clients")
        chain = [crypto.X509.from_cryptography(one) for one in others]
        try:
            crypto.X509StoreContext(store, crypto.X509.from_cryptography(own), chain).verify_certificate()
        except crypto.X509StoreContextError as error:
            raise BadCredentials(f"certificate of serial number {own.serial_number:x}: {error}") from error
        with self._lock:
            if self._good_by is context:
                self._good[der] = now_s + KEPT_S
                if len(self._good) > KEPT:
                    self._good.popitem(last=False)
