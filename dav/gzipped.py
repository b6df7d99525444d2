"""Bodies of text as gzip (RFC 9110 section 8.4.1.3), while they are sent. Threads: a body belongs to one request."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

LEAST: Final = 1024  # bytes: what is smaller gains nothing
LEVEL: Final = 1  # a listing has a tenth of its size then; more takes longer than a good network needs for the rest
_GZIP: Final = 16 + zlib.MAX_WBITS


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces compressed, each as soon as it is known; the same pieces give the same bytes."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        compressed = compressor.compress(piece)
        if compressed:
            yield compressed
    yield compressor.flush()
