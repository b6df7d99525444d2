"""What a request's environ says of who asks. Set by the gate (`gateway.access.gate`) and the server; read behind it.

Any thread; constants.
"""

from collections.abc import Mapping
from typing import Any, Final

from auth.principal import ANONYMOUS, Principal
from dav.reply import CERTIFICATE as CERTIFICATE
from dav.reply import TLS as TLS

PRINCIPAL: Final = "aetherfs.principal"  # auth.principal.Principal, set by the gate
SESSION: Final = "aetherfs.session"  # whether a cookie told who asks, which browsers send unasked
CSRF: Final = "aetherfs.csrf"  # what such a request has to repeat


def principal_of(environ: Mapping[str, Any]) -> Principal:
    """Return who asks."""
    principal: Principal = environ.get(PRINCIPAL, ANONYMOUS)
    return principal
