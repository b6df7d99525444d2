"""Giving freed memory back to the system before it is needed for something else.

glibc keeps freed buffers of up to 32 MiB for later ones of the same thread. Once a push has uploaded its last pack that
is some 150 MB (measured: a million files over a slow line), just when the manifest has to be made. Any thread.
"""

import contextlib
import ctypes


def give_back() -> None:
    """Return what was freed to the system, where the C library has a call for it; elsewhere nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc: musl, macOS
        ctypes.CDLL(None).malloc_trim(0)
