"""Pages of lists: tokens that say where one ended, which nobody but us needs to read. Pure; any thread."""

import base64
import binascii
import itertools
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from gateway.operations.errors import BadArgument

PAGE_SIZE: Final = 100
LARGEST_PAGE: Final = 1000
LONGEST: Final = 4096  # characters of a token
NO_PAGE: Final = "page_token is none that a page before this one told"

T = TypeVar("T")


class Page(NamedTuple):
    """Which page of a list is asked for."""

    place: str  # where the page before ended, as it said itself; empty: from the beginning
    size: int  # at most so many, from 1


def parse_page(token: str, size: int) -> Page:
    """Read what a client sends.

    Args:
        token: empty for the first page.
        size: from 1; larger ones than there are come to the largest.

    Raises:
        BadArgument: the token is none of ours, or the size none.
    """
    if size < 1:
        raise BadArgument(f"page_size is a number from 1 to {LARGEST_PAGE}")
    if len(token) > LONGEST:
        raise BadArgument(NO_PAGE)
    try:
        place = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadArgument(NO_PAGE) from error
    return Page(place, min(size, LARGEST_PAGE))


def spell_place(place: str) -> str:
    """Return the token of a place; empty: there is no further page. ASCII."""
    return base64.b64encode(place.encode("ascii"), altchars=b"-_").decode()


def page_of(found: Iterable[T], size: int, *, place: Callable[[T], str]) -> tuple[list[T], str]:
    """Return the first `size` of what was found, and the token of the page behind them; empty: there is none.

    Args:
        found: taken one further than the page, no more.
        size: from 1.
        place: says where one lies in the list, as `Page.place` is to have it: ASCII.
    """
    taken = list(itertools.islice(found, size + 1))
    page = taken[:size]
    return page, spell_place(place(page[-1])) if len(taken) > size else ""
