"""Cuts a stream of bytes where its content says so: FastCDC, so that an edit moves few cut points.

The settings stand in `aetherfs.json`; two clients of one store must cut alike, or nothing deduplicates. The compiled
implementation is required: its silent pure-Python stand-in is a hundred times slower (measured: 1,700 MB/s compiled).
A `Chunker` may be shared by threads: each `cut` works on its own state.
"""

from collections.abc import Iterator
from typing import Final

from pyfastcdc import FastCDC

from store.errors import FeatureMissing
from store.objects.base import Buffer
from store.root import ChunkerSettings

WINDOW: Final = 4 << 20  # bytes cut at a time; any size above a chunk's maximum gives the same cuts
MAX: Final = WINDOW // 4  # of a chunk, so that a window holds some; readers take larger ones


class Chunker:
    """Cuts buffers by one store's settings."""

    def __init__(self, settings: ChunkerSettings) -> None:
        """Prepare to cut.

        Raises:
            FeatureMissing: this program can't cut so.
        """
        if "cy" not in FastCDC.__module__.split("."):
            raise FeatureMissing("write to", ["the compiled pyfastcdc (reinstall it: no wheel fitted this machine)"])
        refused = FeatureMissing("write to", [f"chunks cut as {settings}"])
        if settings.algorithm != "fastcdc" or settings.max > MAX:
            raise refused
        self.settings = settings
        try:
            self._fastcdc()
        except (ValueError, OverflowError) as error:
            raise refused from error

    def cut(self, data: Buffer, *, first: bool, final: bool) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of each whole chunk in `data`. What fits in one chunk is one.

        Args:
            data: bytes that follow the last cut; what is left over is to be handed in again with more behind it.
            first: nothing comes before `data` in its run.
            final: nothing comes after `data`, so that the last, short chunk is whole too.
        """
        size = len(data)
        if first and final and size <= self.settings.max:
            if size:
                yield 0, size
            return
        for chunk in self._fastcdc().cut_buf(data):
            if not final and chunk.offset + chunk.length == size and chunk.length < self.settings.max:
                return
            yield chunk.offset, chunk.length

    def _fastcdc(self) -> FastCDC:
        return FastCDC(
            self.settings.avg,
            min_size=self.settings.min,
            max_size=self.settings.max,
            normalized_chunking=self.settings.normalization,  # type: ignore[arg-type]  # a Literal[0, 1, 2, 3] there
            seed=self.settings.seed,
        )
