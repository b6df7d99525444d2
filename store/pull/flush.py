"""System calls that take written data to the disk: of a whole file system at once, and of a file ahead of its fsync.

Linux alone has them, and Python does not offer them, hence ctypes. Pure system calls; any thread.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Final

_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE, linux/fs.h


def sync_file_system(path: bytes) -> bool:
    """Make everything of one file system durable by one call; false where the system has none for it."""
    call = _function("syncfs", ctypes.c_int)
    if call is None:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(call(descriptor)) == 0
    finally:
        os.close(descriptor)


def start_writing(descriptor: int) -> None:
    """Have the system begin to write a file's data, so that its fsync later finds less to do.

    A hint: nothing is durable afterwards, and where it fails the fsync still says so, as it alone takes note of errors.
    """
    call = _function("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    if call is not None:
        call(descriptor, 0, 0, _WRITE)


@functools.cache
def _function(name: str, *types: Any) -> Callable[..., Any] | None:
    """Return a function of the C library, or `None` where it has no such."""
    if sys.platform != "linux":
        return None
    try:
        call: Any = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    call.argtypes = types
    return call  # type: ignore[no-any-return]  # ctypes has no types for it
