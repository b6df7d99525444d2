"""What becomes of a failure on our side: one line in the log, and an id by which whoever was told of it can ask.

Threads: any; holds no state.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

import structlog

from dav.reply import Headers, target_of
from gateway.web.access import hushed
from store.errors import StoreError

RETRY_AFTER_S: Final = 5

_log = structlog.stdlib.get_logger("aetherfs.http")


def noted(environ: Mapping[str, Any], error: Exception, status: int) -> tuple[str, Headers]:
    """Log why a request failed; return its id, and the fields that its answer has to have.

    Args:
        environ: the request.
        error: of the store, or one that nobody expected, which is logged with where it came from.
        status: of the answer, from 500.
    """
    request_id = secrets.token_hex(8)
    _log.error(
        "request failed",
        request_id=request_id,
        method=environ.get("REQUEST_METHOD"),
        target=hushed(target_of(environ))[:2048],
        status=status,
        error=str(error),
        exc_info=error if not isinstance(error, StoreError) else None,
    )
    later = [("Retry-After", str(RETRY_AFTER_S))] if status == 503 else []
    return request_id, [("X-Request-Id", request_id), *later]
