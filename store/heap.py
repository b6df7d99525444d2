"""What becomes of freed buffers: glibc's habits are wrong for buffers of megabytes, either way.

It keeps freed buffers of up to 32 MiB for later ones, thread by thread, once it has seen one of that size: packs and
the columns of a push are of that size, and kept so, they and the gaps between them add up to 150 MB (measured: a
million files over a slow line). And it gives what lies at the end of its heap back at once, though the next piece of a
transfer needs just as much: new pages for each took most of the time of reading (measured: 150 MiB of sealed packs from
a folder, 0.34 and 0.06 s). Any thread; holds for the whole process.
"""

import contextlib
import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3  # set by hand, it no longer adapts itself
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
_LARGE: Final = 6 << 20  # bytes from which on a buffer has pages of its own: packs, not the windows of a file, which
# come and go all the time, and new pages for each cost a sixth of the time of a push (measured: 347 MB, 2.1 and 1.8 s)
_KEPT: Final = 64 << 20  # bytes at the end of the heap that stay for the next buffers


def keep_little() -> None:
    """Keep no large buffer that was freed: for work whose memory has to stay small."""
    _set(_M_MMAP_THRESHOLD, _LARGE)


def reuse_buffers() -> None:
    """Use freed buffers of up to 6 MiB again, and keep no larger one: for work that reads piece after piece."""
    _set(_M_MMAP_THRESHOLD, _LARGE)
    _set(_M_TRIM_THRESHOLD, _KEPT)


def share_buffers() -> None:
    """Use freed buffers again, whichever thread freed them: for gateways, where many threads read for one another.

    Else each of a dozen threads would keep its own (measured: 90 MB more while a cold file is read; and a piece of the
    disk cache takes 1.1 ms where its buffer is made of new pages, and 0.2 where it is not).
    """
    reuse_buffers()
    _set(_M_ARENA_MAX, _ARENAS)


def _set(what: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc: musl, macOS
        ctypes.CDLL(None).mallopt(what, value)
