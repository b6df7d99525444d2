"""A listing that comes in pages, and that can be asked again for the page that failed.

A generator is finished by the first error that leaves it; asked again, it claims that the listing is at its end. This
iterator keeps its place instead, so that the retry wrapper can go on where the trouble was, and nothing is left out.

Threads: one listing belongs to one thread.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from store.objects.base import ObjectInfo

FetchPage = Callable[[str | None], tuple[Sequence[ObjectInfo], str | None]]


class PagedListing:
    """Objects page by page; holds one page at a time."""

    def __init__(self, fetch_page: FetchPage) -> None:
        """Begin before the first page.

        Args:
            fetch_page: returns the page that a token stands for (`None`: the first one), and the next one's token, or
                `None` after the last page. May raise any `StoreError`; called again with the same token afterwards.
        """
        self._fetch_page = fetch_page
        self._token: str | None = None
        self._page: deque[ObjectInfo] = deque()
        self._last = False

    def __iter__(self) -> Iterator[ObjectInfo]:
        return self

    def __next__(self) -> ObjectInfo:
        while not self._page:
            if self._last:
                raise StopIteration
            page, token = self._fetch_page(self._token)
            self._page.extend(page)
            self._token, self._last = token, token is None
        return self._page.popleft()
