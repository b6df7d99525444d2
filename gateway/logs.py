"""Sets up logging for one process: every record to stderr, one line each, ours and libraries' alike.

Called once by a program's entry; importing this does nothing. Modules log through `logging.getLogger(__name__)`.
"""

import logging
import sys
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"
LOUD_LIBRARIES: Final = ("boto3", "botocore", "urllib3", "s3transfer")  # their debug lines hold headers and signatures


def set_up(level: int) -> None:
    """Send records of `level` (as in `logging`) and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
