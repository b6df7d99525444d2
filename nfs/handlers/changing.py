"""All procedures that would change something share one answer: the file system is read-only. Threads: pure."""

from nfs.view import View
from store.errors import TreeReadOnly


def read_only(_args: object, _view: View) -> object:
    """Refuse (RFC 1813: NFS3ERR_ROFS)."""
    raise TreeReadOnly
