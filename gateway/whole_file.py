"""Small files that are replaced whole: whoever reads one sees the old or the new one, after a power cut too."""

import os
import secrets
from pathlib import Path


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put a file in the place of the one that is there, if any.

    Args:
        path: where; its folder is there.
        data: what it holds.
        mode: of the new file, less the umask.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    coming = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(coming, path)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise
