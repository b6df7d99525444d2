"""Versions and ranges of versions: what is a version, which is newer, which lie in a range.

A version is a tag that never moves: Semantic Versioning 2.0.0 (`v?N.N.N` with `-pre` and `+build`) or a calendar date
(`v?YYYY.MM[.DD][-n]`, `v?YY.MM[.N]` with a two-digit month, `YYYY-MM-DD`), its months and days real. Both kinds are
ordered on one line, by their numbers as written: 1.9.0 < 24.04 < 24.04.1 < 2026.11 < 2026-11-22 < 2026.11.22-1.
`2026.11.22-1` is both grammars' at once; it counts as the calendar's second release of that day, not as a pre-release.

A range is one or more comparators that must all hold (`^1.2`, `~1.4`, `>=1 <3`, `2026.*`, `1.2.3`), with npm's meaning
(node-semver, Ranges). Pre-releases are in a range only when a comparator names one with the same three numbers.

Pure functions and values, any thread.
"""

import datetime
import functools
import re
from typing import Final, NamedTuple

from store.errors import BadName

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PRE: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_DOTTED: Final = re.compile(rf"v?([0-9]{{4}})\.([0-9]{{2}})(?:\.([0-9]{{2}}))?(?:-({_NUMBER}))?")
_SHORT: Final = re.compile(rf"v?([0-9]{{2}})\.([0-9]{{2}})(?:\.({_NUMBER}))?")
_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")

_COMPARATOR: Final = re.compile(r" *(\^|~|>=|<=|>|<|=|) *([^ <>=^~]+) *")
_PARTIAL: Final = re.compile(r"v?([0-9]+|[*xX])(?:\.([0-9]+|[*xX]))?(?:\.([0-9]+|[*xX]))?")

RANGE_LIMIT: Final = 256  # characters of a range; the longest sensible ones take about 60
RANGE_HELP: Final = "ranges look like ^1.2, ~1.4, '>=1 <3' or 2026.*"

Numbers = tuple[int, int, int]
Precedence = tuple[Numbers, bool, tuple[tuple[int, int, str], ...], int]


class Version(NamedTuple):
    """A version's place on the line. `1.0.0+a`, `1.0.0+b` and `v1.0.0` share one place."""

    numbers: Numbers  # what is absent counts as 0
    pre: tuple[tuple[int, int, str], ...] = ()  # identifiers: (0, number, "") before (1, 0, text)
    counter: int = 0  # the calendar's `-n`

    @property
    def precedence(self) -> Precedence:
        """Return a key: larger is newer."""
        return (self.numbers, not self.pre, self.pre, self.counter)


class Bound(NamedTuple):
    """One end of a comparator, worked out."""

    operator: str  # one of >=, >, <, <=, =
    version: Version

    def holds(self, version: Version) -> bool:
        """Tell whether `version` lies on the right side."""
        here, there = version.precedence, self.version.precedence
        if here == there:
            return "=" in self.operator
        return self.operator[0] == (">" if here > there else "<")


class Range(NamedTuple):
    """A range, as written and as bounds that must all hold."""

    text: str
    bounds: tuple[Bound, ...]
    pre_allowed: frozenset[Numbers]  # the numbers of those pre-releases that the text names

    def includes(self, version: Version) -> bool:
        """Tell whether a version is in the range."""
        if version.pre and version.numbers not in self.pre_allowed:
            return False
        return all(bound.holds(version) for bound in self.bounds)


@functools.lru_cache(maxsize=32768)
def parse_version(tag: str) -> Version | None:
    """Read a tag as a version; `None` says that it is a channel's name."""
    if found := _DOTTED.fullmatch(tag):
        year, month, day, counter = found.groups()
        if is_day(year, month, day or "01"):
            return Version((int(year), int(month), int(day or 0)), counter=int(counter or 0))
    if (found := _DAY.fullmatch(tag)) and is_day(*found.groups()):
        year, month, day = found.groups()
        return Version((int(year), int(month), int(day)))
    if (found := _SHORT.fullmatch(tag)) and 1 <= int(found[2]) <= 12:
        return Version((int(found[1]), int(found[2]), int(found[3] or 0)))
    if found := _SEMVER.fullmatch(tag):
        major, minor, patch, pre = found.groups()
        return Version((int(major), int(minor), int(patch)), pre=_pre_key(pre) if pre else ())
    return None


def is_day(year: str, month: str, day: str) -> bool:
    """Tell whether three strings of digits name a day that exists."""
    try:
        datetime.date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def parse_day(text: str) -> datetime.date | None:
    """Read `YYYY-MM-DD`; `None` for anything that doesn't have that shape.

    Raises:
        BadName: the shape is right, but there is no such day.
    """
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    if not is_day(*found.groups()):
        raise BadName(text, "there is no such day in the calendar; a date is written YYYY-MM-DD, as in 2026-11-01")
    return datetime.date(int(found[1]), int(found[2]), int(found[3]))


def parse_range(text: str) -> Range:
    """Read a range.

    Raises:
        BadName: not a range.
    """
    if len(text) > RANGE_LIMIT:
        raise BadName(text[:80], f"a range of {len(text)} characters, at most {RANGE_LIMIT} are allowed; {RANGE_HELP}")
    bounds: list[Bound] = []
    pre_allowed: set[Numbers] = set()
    at = 0
    while at < len(text) or not at:
        found = _COMPARATOR.match(text, at)
        if found is None:
            raise BadName(text, f"not a range of versions from {text[at : at + 20]!r} on; {RANGE_HELP}")
        at = found.end()
        operator, operand = found[1], found[2]
        low, fixed = _operand(text, operand)
        if low.pre:
            pre_allowed.add(low.numbers)
        bounds.extend(_bounds(text, operator, low, fixed))
    return Range(text, tuple(bounds), frozenset(pre_allowed))


def _pre_key(pre: str) -> tuple[tuple[int, int, str], ...]:
    # Semantic Versioning 11.4: numbers come before names; a longer list is newer when all before it is equal.
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split("."))


def _operand(text: str, operand: str) -> tuple[Version, int]:
    """Return the lowest version that an operand means, and how many of its numbers are fixed (0 to 3)."""
    found = _PARTIAL.fullmatch(operand)
    if found is None:
        version = parse_version(operand)
        if version is None:
            raise BadName(text, f"{operand!r} is no version; {RANGE_HELP}")
        return version, 3
    parts = [part for part in found.groups() if part is not None]
    fixed = next((i for i, part in enumerate(parts) if not part.isdigit()), len(parts))
    if any(part.isdigit() for part in parts[fixed:]):
        raise BadName(text, f"{operand!r} has a number after a wildcard; {RANGE_HELP}")
    numbers = [int(part) for part in parts[:fixed]] + [0] * (3 - fixed)
    return Version((numbers[0], numbers[1], numbers[2])), fixed


def _bounds(text: str, operator: str, low: Version, fixed: int) -> list[Bound]:
    if fixed == 0:
        if operator in (">", "<"):
            raise BadName(text, f"nothing is {operator} every version; {RANGE_HELP}")
        return []
    if operator == "^":
        # What may change lies right of the first number that is not 0; ^0.0 leaves the last one free, ^0.0.3 none.
        first = next((i for i, number in enumerate(low.numbers[:fixed]) if number), fixed - 1)
        return [Bound(">=", low), _below_next(low, first)]
    if operator == "~":
        return [Bound(">=", low), _below_next(low, min(fixed, 2) - 1)]
    if fixed == 3:
        return [Bound(operator or "=", low)]
    match operator:
        case ">=":
            return [Bound(">=", low)]
        case "<":
            return [_before(low.numbers)]
        case ">":
            return [Bound(">=", _below_next(low, fixed - 1).version._replace(pre=()))]
        case "<=":
            return [_below_next(low, fixed - 1)]
        case _:
            return [Bound(">=", low), _below_next(low, fixed - 1)]


def _below_next(low: Version, position: int) -> Bound:
    numbers = [*low.numbers[:position], low.numbers[position] + 1, 0, 0]
    return _before((numbers[0], numbers[1], numbers[2]))


def _before(numbers: Numbers) -> Bound:
    # -0 is the oldest pre-release there can be: "<2" must not let 2.0.0-rc.1 in.
    return Bound("<", Version(numbers, pre=((0, 0, ""),)))
