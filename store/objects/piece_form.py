"""How a piece lies in its file: in parts of 64 KiB, each with its proof behind it, so that any range is read alone.

    head    bytes of the form: a salt where pieces are sealed, nothing where they are marked
    parts   of `PART` plain bytes each, the last one shorter; `PROOF` bytes more each

A form makes the proofs: `store.sealing.pieces.PieceSeal` by a cipher, `Marks` by digests alone, for pieces that the
store's own key has sealed already. A proof covers its part's number and the size of the piece, so that a part proves
nothing at another place and a file that was cut counts as damaged. Pure functions; any thread.
"""

from collections.abc import Callable
from typing import Final, Protocol

from blake3 import blake3

from store.objects.base import Buffer

PART: Final = 64 << 10  # plain bytes
PROOF: Final = 16  # bytes behind each part
WHOLE: Final = PART + PROOF
MARKS_CHECK: Final = "digests/2"

Opener = Callable[[int, memoryview], Buffer | None]  # (number, part with its proof) to the plain part, if it is proved


class Form(Protocol):
    """What a folder's pieces are kept by."""

    head: int  # bytes in front of the first part
    check: str  # tells by which form and key a folder was written

    def row(self, name: str) -> str:
        """Return under which key a piece stands in the table."""
        ...

    def lay(self, name: str, piece: Buffer) -> bytes:
        """Return what is to be kept of a piece."""
        ...

    def opener(self, name: str, head: bytes, plain: int) -> Opener:
        """Return what opens the parts of a piece of `plain` bytes, by its first bytes."""
        ...


class Marks:
    """Pieces in plain, proved by digests."""

    head = 0
    check = MARKS_CHECK

    def row(self, name: str) -> str:
        """Return the name itself."""
        return name

    def lay(self, name: str, piece: Buffer) -> bytes:
        """Put a digest behind each part."""
        view = memoryview(piece)
        out: list[Buffer] = []
        for number in range(count(len(view))):
            part = view[number * PART : (number + 1) * PART]
            out += (part, _mark(number, len(view), part))
        return b"".join(out)

    def opener(self, name: str, head: bytes, plain: int) -> Opener:
        """Return what compares digests."""

        def opened(number: int, kept: memoryview) -> Buffer | None:
            part = kept[:-PROOF]
            return part if _mark(number, plain, part) == kept[-PROOF:] else None

        return opened


def _mark(number: int, plain: int, part: Buffer) -> bytes:
    return blake3(number.to_bytes(4, "little") + plain.to_bytes(8, "little")).update(part).digest(PROOF)


def count(plain: int) -> int:
    """Return how many parts a piece has: one at least."""
    return max(1, -(-plain // PART))


def plain_size(head: int, kept: int) -> int:
    """Return the plain bytes of a piece that takes `kept` bytes with a head of `head`; -1: none takes that many."""
    body = kept - head
    parts = -(-body // WHOLE)
    plain = body - parts * PROOF
    return plain if parts > 0 and plain >= 0 and count(plain) == parts else -1


def open_parts(opener: Opener, kept: Buffer, offset: int, end: int) -> list[Buffer] | None:
    """Open a range of a piece.

    Args:
        opener: the piece's.
        kept: the parts from the one on in which `offset` lies, to the one in which `end` does.
        offset: first plain byte that is wanted.
        end: the one behind the last; above `offset`, and at most the piece's size.

    Returns:
        The range in consecutive views, or `None` where a part is not proved.
    """
    view = memoryview(kept)
    first = offset // PART
    found: list[Buffer] = []
    for number in range(first, (end - 1) // PART + 1):
        at = (number - first) * WHOLE
        part = opener(number, view[at : at + WHOLE])
        if part is None:
            return None
        start = number * PART
        if offset > start or end < start + len(part):
            part = memoryview(part)[max(0, offset - start) : end - start]
        found.append(part)
    return found
