"""Conditional requests: validators, dates and preconditions (RFC 9110 sections 8.8 and 13). Pure; any thread."""

import enum
import re
from datetime import UTC, datetime
from typing import NamedTuple

from dav.wire.dates import MONTHS

_ENTITY_TAG = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,[ \t,]*|$)')
# IMF-fixdate, and the obsolete forms of RFC 850 and of C's asctime.
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)


class Validators(NamedTuple):
    """What identifies the state of a resource."""

    etag: str  # strong, with its quotes
    modified_s: int | None  # whole seconds since 1970; `None`: there is no Last-Modified
    moved_s: int | None = None  # when its URL last came to mean something else; `None`: it never does


class Conditions(NamedTuple):
    """The conditional headers of a request, as sent; `None` where absent."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None


class Outcome(enum.Enum):
    """What the preconditions allow."""

    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


def strong_etag(sha256: bytes) -> str:
    """Return the entity tag of a file: the digest of its bytes in hexadecimal, quoted (section 8.8.3)."""
    return f'"{sha256.hex()}"'


def parse_http_date(text: str) -> int | None:
    """Return seconds since 1970, or `None` for what is none of the three forms (RFC 9110 section 5.6.7).

    A year of two digits that would be more than 50 years from now is one of the last century that had them.
    """
    found = next((found for form in _DATES if (found := form.fullmatch(text.strip()))), None)
    if found is None or found["month"] not in MONTHS:
        return None
    day, year, hour, minute, second = (int(found[part]) for part in ("day", "year", "hour", "minute", "second"))
    if len(found["year"]) == 2:
        this_year = datetime.now(UTC).year
        year += this_year // 100 * 100
        year -= 100 if year > this_year + 50 else 0
    try:
        when = datetime(year, MONTHS.index(found["month"]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:  # 31 February
        return None
    return int(when.timestamp())


def matches(header: str, etag: str, *, weak: bool) -> bool:
    """Tell whether a list of entity tags (or `*`) names `etag`, which is strong.

    Args:
        header: the value of If-Match or If-None-Match. A list that does not parse matches nothing from there on.
        etag: with its quotes.
        weak: compare weakly (section 8.8.3.2): `W/"x"` matches `"x"`.
    """
    if header.strip() == "*":
        return True
    at = 0
    while at < len(header):
        found = _ENTITY_TAG.match(header, at)
        if found is None:
            return False
        if found[2] == etag and (weak or found[1] is None):
            return True
        at = found.end()
    return False


def evaluate(conditions: Conditions, current: Validators) -> Outcome:
    """Decide a GET's or HEAD's preconditions in the order of section 13.2.2 (If-Range is apart: `range_applies`)."""
    if conditions.if_match is not None:
        if not matches(conditions.if_match, current.etag, weak=False):
            return Outcome.FAILED
    elif conditions.if_unmodified_since is not None and _unmodified(conditions.if_unmodified_since, current) is False:
        return Outcome.FAILED
    if conditions.if_none_match is not None:
        if matches(conditions.if_none_match, current.etag, weak=True):
            return Outcome.NOT_MODIFIED
    elif conditions.if_modified_since is not None and _unmodified(conditions.if_modified_since, current):
        return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def _unmodified(date: str, current: Validators) -> bool | None:
    """Tell whether what a URL shows is what it showed at a date; `None`: the date says nothing.

    A channel may move back to older files. So where a URL changes its meaning, a date counts that is exactly
    Last-Modified, or not before the last move.
    """
    when = parse_http_date(date)
    if when is None or current.modified_s is None:
        return None
    return when == current.modified_s or when >= max(current.modified_s, current.moved_s or current.modified_s)


def range_applies(conditions: Conditions, current: Validators) -> bool:
    """Tell whether a Range is to be honoured (section 13.1.5): no If-Range, or one that names the current state.

    Comparison is strong: a weak tag never counts. A date counts when it is exactly Last-Modified, and only where the
    URL never changes its meaning: two states of a channel may hold files of one time (section 8.8.2.2).
    """
    value = conditions.if_range
    if value is None:
        return True
    if value.strip().startswith(('"', "W/")):
        return value.strip() == current.etag
    return current.moved_s is None and current.modified_s is not None and parse_http_date(value) == current.modified_s
