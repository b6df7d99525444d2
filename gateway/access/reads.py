"""Tells the audit log of reads, where it is to be told: whatever answer the server notes passes here.

Any thread.
"""

from typing import Final

from dav.wire.paths import split_target
from gateway.access.audit import OK, READ, Audit
from gateway.access.gate import dataset_of
from gateway.web.access import Accesses

_SURFACES: Final = {b"fs": "fs", b"webdav": "webdav"}
_READS: Final = ("GET", "HEAD", "PROPFIND")


class AuditedReads:
    """An access log's place, with the audit log beside it."""

    def __init__(self, audit: Audit, access: Accesses | None = None) -> None:
        """Note each read in `audit`, and everything in `access`."""
        self._audit, self._access = audit, access

    def note(
        self, address: str, method: str, target: str, status: int, size: int, referer: str = "", agent: str = "",
        who: str = "",
    ) -> None:  # fmt: skip
        """Take an answer; see `AccessLog.note`."""
        if self._access is not None:
            self._access.note(address, method, target, status, size, referer, agent, who)
        if status >= 400 or status == 304 or method not in _READS:
            return
        names = split_target(target).names
        dataset = dataset_of(names[1:])
        if names and names[0] in _SURFACES and dataset is not None:
            self._audit.note(
                READ, OK, principal=who or "anonymous", address=address, dataset=dataset, target=target,
                surface=_SURFACES[names[0]], size=size,
            )  # fmt: skip

    def close(self) -> None:
        """Close the access log."""
        if self._access is not None:
            self._access.close()
