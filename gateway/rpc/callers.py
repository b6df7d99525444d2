"""From a call of gRPC to who makes it: its metadata, the certificate of its connection, the address it comes from.

Any thread.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.errors import BadCredentials
from auth.patterns import EVERYTHING
from auth.principal import ANONYMOUS, Action
from gateway.access.entrance import Entrance
from gateway.access.environ import CERTIFICATE
from gateway.operations.rights import Caller, Operations

SURFACE: Final = "grpc"  # in the audit log
_CERTIFICATE: Final = "x509_pem_cert"  # in what TLS found out (grpc/grpc_security_constants.h)
_CHAIN: Final = "x509_pem_cert_chain"


class ServicerContext(Protocol):
    """What is asked of a call; gRPC's own is one."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None: ...
    def peer(self) -> str: ...
    def auth_context(self) -> Any: ...


Verify = Callable[[x509.Certificate, Sequence[x509.Certificate]], None]


class Callers:
    """Tells who calls."""

    def __init__(self, on: Operations, entrance: Entrance | None, verify: Verify | None = None) -> None:
        """Stand before the services.

        Args:
            on: say what anonymous callers may.
            entrance: identifies; `None`: there is no login.
            verify: raises BadCredentials for a certificate that no longer holds; `None`: none is asked for.
        """
        self._on, self._entrance, self._verify = on, entrance, verify

    def caller(self, call: ServicerContext, *, writes: bool, wait: bool = True) -> Caller:
        """Return who makes a call.

        Args:
            call: gRPC's.
            writes: it changes something.
            wait: ask what takes long, such as a password's hash or the bucket.

        Raises:
            AuthError: they are not who they say, or it can't be told.
            LoginNeeded: nobody says who they are, and there is nothing here for those.
            NotWarm: only with `wait` false: not to be told without waiting.
        """
        address = address_of(call.peer())
        if self._entrance is None:
            return Caller(ANONYMOUS, address, SURFACE)
        environ = self._environ(call, address)
        if self._verify is not None:
            try:
                environ[CERTIFICATE] = self._certificate(call, self._verify)
            except BadCredentials as error:
                self._entrance.refused(environ, error)
                raise
        found = self._entrance.identify(environ, wait=wait)
        who = Caller(found.principal, address, SURFACE)
        if who.principal == ANONYMOUS and (writes or not self._on.policies.policy.may_read_some(ANONYMOUS)):
            self._on.denied(who, Action.TAG if writes else Action.READ, EVERYTHING)
        return who

    def _environ(self, call: ServicerContext, address: str) -> dict[str, Any]:
        """Spell a call as HTTP's requests are spelt, from which everybody is identified; without its certificate."""
        environ: dict[str, Any] = {"REMOTE_ADDR": address}
        shown = [value for key, value in call.invocation_metadata() or () if key == "authorization"]
        if shown:
            # Two that differ are of two people; which one asks is not to be guessed.
            only = shown[0] if len(shown) == 1 else ""
            environ["HTTP_AUTHORIZATION"] = only.decode("latin-1") if isinstance(only, bytes) else only
        agent = next((value for key, value in call.invocation_metadata() or () if key == "user-agent"), None)
        if isinstance(agent, str):
            environ["HTTP_USER_AGENT"] = agent
        return environ

    def _certificate(self, call: ServicerContext, verify: Verify) -> bytes:
        found = call.auth_context() or {}
        shown = found.get(_CERTIFICATE) or ()
        if not shown:
            return b""
        try:
            chain = x509.load_pem_x509_certificates(b"".join(found.get(_CHAIN) or ()) or shown[0])
            own = x509.load_pem_x509_certificate(shown[0])
        except ValueError as error:
            raise BadCredentials("the certificate can't be read") from error
        verify(own, chain[1:])
        return own.public_bytes(Encoding.DER)


def address_of(peer: str) -> str:
    """Return the address in what gRPC calls a peer: `ipv4:192.0.2.7:4711`, `ipv6:%5B2001:db8::7%5D:4711`."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
