"""Bytes of a manifest's section from front to back, piece by piece, each met once. Pure; one thread."""

from collections.abc import Iterator

from store.objects.base import Buffer


class Stream:
    """What follows one another in a section, taken in pieces of any length."""

    def __init__(self, pages: Iterator[Buffer]) -> None:
        self._pages = pages
        self._page: Buffer = b""
        self._at = 0  # in the page
        self._before = 0  # bytes of the pages before it

    @property
    def position(self) -> int:
        """Where the next piece begins, in bytes from the section's start."""
        return self._before + self._at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer where the section ends."""
        end = self._at + size
        piece = bytes(self._page[self._at : end])
        if end <= len(self._page):
            self._at = end
            return piece
        parts = [piece]
        missing = size - len(piece)
        self._at = len(self._page)
        for page in self._pages:
            self._before += len(self._page)
            self._page, self._at = page, min(missing, len(page))
            parts.append(bytes(page[: self._at]))
            missing -= self._at
            if not missing:
                break
        return b"".join(parts)
