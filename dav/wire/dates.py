"""Times as HTTP and WebDAV spell them, quickly: a listing spells thousands (RFC 9110 section 5.6.7, RFC 3339).

Times are whole seconds since 1970; those before year 1 or after year 9999, which have no spelling, become the nearest
that has one. Pure; any thread.
"""

from datetime import date
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LATEST_S: Final = 253402300799  # 9999-12-31T23:59:59Z
_EARLIEST_S: Final = -62135596800  # 0001-01-01T00:00:00Z
_EPOCH: Final = date(1970, 1, 1).toordinal()
_MINUTE: Final = tuple(f"{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60))  # of a day
_SECOND: Final = tuple(f"{second:02}" for second in range(60))


def http_date(seconds: int) -> str:
    """Spell a time as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    minutes, second = divmod(_spellable(seconds), 60)
    days, minute = divmod(minutes, 1440)
    return f"{_day(days)[0]}{_MINUTE[minute]}{_SECOND[second]} GMT"


def date_time(seconds: int) -> str:
    """Spell a time as RFC 3339 does, in UTC: `1994-11-06T08:49:37Z`."""
    minutes, second = divmod(_spellable(seconds), 60)
    days, minute = divmod(minutes, 1440)
    return f"{_day(days)[1]}{_MINUTE[minute]}{_SECOND[second]}Z"


def _spellable(seconds: int) -> int:
    return seconds if _EARLIEST_S <= seconds <= _LATEST_S else _LATEST_S if seconds > 0 else _EARLIEST_S


@lru_cache(maxsize=4096)
def _day(days: int) -> tuple[str, str]:
    """Return a day in both forms, up to the time of day."""
    day = date.fromordinal(_EPOCH + days)
    return f"{_DAYS[day.weekday()]}, {day.day:02} {MONTHS[day.month - 1]} {day.year:04} ", f"{day.isoformat()}T"
