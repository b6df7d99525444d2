"""What a request's environ says of who asks. Set by the gate (`gateway.access.gate`) and the server; read behind it.

Any thread; constants.
"""

from collections.abc import Mapping
from typing import Any, Final

from auth.principal import ANONYMOUS, Principal

PRINCIPAL: Final = "aetherfs.principal"  # auth.principal.Principal, set by the gate
CERTIFICATE: Final = "aetherfs.certificate"  # bytes (DER) of a client certificate that the TLS layer has verified
TLS: Final = "aetherfs.tls"  # whether the request came by TLS


def principal_of(environ: Mapping[str, Any]) -> Principal:
    """Return who asks."""
    principal: Principal = environ.get(PRINCIPAL, ANONYMOUS)
    return principal
