"""Has freed buffers go back to the system at once, and growing ones grow in place.

glibc keeps freed buffers of up to 32 MiB for later ones, thread by thread, once it has seen one of that size. Packs and
the columns of a push are of that size: kept so, they and the gaps between them add up to 150 MB (measured: a million
files over a slow line). Any thread; holds for the whole process.
"""

import contextlib
import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h; set by hand, it no longer adapts itself
_LARGE: Final = 6 << 20  # bytes from which on a buffer has pages of its own: packs, not the windows of a file, which
# come and go all the time, and new pages for each cost a sixth of the time of a push (measured: 347 MB, 2.1 and 1.8 s)


def keep_little() -> None:
    """Keep no large buffer that was freed, where the C library has a call for it; elsewhere nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc: musl, macOS
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
