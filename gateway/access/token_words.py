"""A token in words: the one JSON form that commands print and REST answers. It never holds the secret. Any thread."""

from typing import Any

from auth.tokens import TokenRecord
from dav.wire.dates import date_time


def described(record: TokenRecord, *, now_ns: int, used_ns: int = 0) -> dict[str, Any]:
    """Return a token in words: times as ISO 8601 in UTC, to the second; `null` where there is none.

    Args:
        record: what is kept of it.
        now_ns: the time, ns since 1970.
        used_ns: when it was last used; 0: not, or that is not known.
    """
    return {
        "name": record.name,
        "id": record.id,
        "kind": record.kind,
        "rules": [str(grant) for grant in record.grants],
        "owner": None if record.owner is None else str(record.owner),
        "state": record.ended(now_ns) or "good",
        "created": _time(record.created_ns),
        "expires": _time(record.expires_ns),
        "revoked": _time(record.revoked_ns),
        "last_used": _time(used_ns),
    }


def _time(ns: int) -> str | None:
    return date_time(ns // 10**9) if ns else None
