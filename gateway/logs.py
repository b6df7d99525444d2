"""Sets up logging for one process: every record to stderr, one line each, ours and libraries' alike.

Called once by a program's entry; importing this does nothing. Modules log through `structlog.get_logger(NAME)` or
`logging.getLogger(NAME)`; both end in the standard library's handler.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from gateway.hush import without_secrets

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"
LOUD_LIBRARIES: Final = ("boto3", "botocore", "urllib3", "s3transfer")  # their debug lines hold headers and signatures


class _Discreet(logging.Formatter):
    """Leaves secrets out of all that is written, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def set_up(level: int) -> None:
    """Send records of `level` (as in `logging`) and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, to_record],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def to_record(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, object]]:
    """Turn an event and its fields into what the standard library's logger takes: `text key=value ...`."""
    exc_info = event.pop("exc_info", None)
    text = str(event.pop("event", ""))
    return ("%s", " ".join([text, *(f"{key}={value!r}" for key, value in event.items())])), {"exc_info": exc_info}
