"""Swaps two folders in one step, so that a reader sees the one or the other, never a mixture.

Linux: `renameat2` with RENAME_EXCHANGE; macOS: `renamex_np` with RENAME_SWAP; both by ctypes. Pure system calls; any
thread.
"""

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2  # linux/fs.h
_RENAME_SWAP: Final = 2  # sys/stdio.h of macOS
_NOT_HERE: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def exchange(one: bytes, other: bytes) -> bool:
    """Swap two paths of one file system; false where the system or the file system can't.

    Raises:
        OSError: it can, but not these two.
    """
    call = _system_call()
    if call is None:
        return False
    code = call(one, other)
    if not code:
        return True
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), os.fsdecode(other))


@functools.cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    """Return a function that swaps and returns 0 or the error number, or `None`."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            swap = library.renamex_np
            swap.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)
            return lambda one, other: ctypes.get_errno() if swap(one, other, _RENAME_SWAP) else 0
        rename = library.renameat2
    except (OSError, AttributeError):
        return None
    rename.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return lambda one, other: ctypes.get_errno() if rename(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) else 0
