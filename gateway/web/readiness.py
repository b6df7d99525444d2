"""Whether the store can be read, as `/readyz` tells it: one thread looks, whoever asks meanwhile hears what was last.

Nobody needs to log in to ask. While a store is slow, many who ask would hold every thread that answers requests.

Any thread.
"""

import threading

from store.errors import StoreError, StoreUnavailable
from store.vfs.tree import FileTree


class Readiness:
    """Looks at a tree's list of datasets."""

    def __init__(self, tree: FileTree) -> None:
        """Take the tree of everything."""
        self._tree = tree
        self._looking = threading.Lock()
        self._last: StoreError | None = StoreUnavailable("of this gateway", "it has not answered yet")

    def check(self) -> None:
        """Go on only if the store can be read.

        Raises:
            StoreError: it can't, now or when somebody looked last.
        """
        if not self._looking.acquire(blocking=False):
            if self._last is not None:
                raise self._last.with_traceback(None)  # of many raises it would grow
            return
        try:
            self._tree.children(self._tree.root(), limit=1)
        except StoreError as error:
            self._last = error
            raise
        else:
            self._last = None
        finally:
            self._looking.release()
