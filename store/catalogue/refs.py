"""Names of datasets and tags, and the references by which people name a state.

    dataset    name or @scope/name, each part [a-z0-9][a-z0-9._-]{0,63}
    tag        [A-Za-z0-9][A-Za-z0-9._+-]{0,127}, not b3-...
    reference  NAME   NAME:TAG   NAME@RANGE   NAME@YYYY-MM-DD   NAME:CHANNEL@YYYY-MM-DD   NAME@b3-HEX
    location   a reference, then optionally / and a path

`format_reference(parse_reference(text)) == text` for every text that is one. Which state a reference means is
the catalogue's to say. Pure functions and values, any thread. docs/format.md, Names.
"""

import datetime
import enum
import re
from dataclasses import dataclass, field
from typing import Final

from store.catalogue.versions import RANGE_HELP, Range, parse_day, parse_range, parse_version
from store.errors import BadName

_PART: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{12,64}")
_HEAD_OF_REFERENCE: Final = re.compile(r"@[^:@/]*(?:/[^:@/]*)?|[^:@/]*")

RESERVED_SCOPES: Final = frozenset({"@token", "@me"})  # they begin paths of mounts and pages
DIGEST_PREFIX: Final = "b3-"
DEFAULT_TAG: Final = "latest"
REFERENCE_LIMIT: Final = 1024  # characters; dataset, tag and date together never need more than 300
_SHOWN: Final = 120  # of a bad text, characters repeated in the message


class TagKind(enum.StrEnum):
    """What a tag may do."""

    VERSION = "version"  # never moves
    CHANNEL = "channel"  # moves, keeping its history


@dataclass(frozen=True, slots=True)
class Named:
    """The state that a tag names."""

    tag: str = DEFAULT_TAG
    written: bool = field(default=True, compare=False)  # False: the text had no tag

    def __str__(self) -> str:
        return f":{self.tag}" if self.written else ""


@dataclass(frozen=True, slots=True)
class InRange:
    """The newest version in a range."""

    range: Range

    def __str__(self) -> str:
        return f"@{self.range.text}"


@dataclass(frozen=True, slots=True)
class OnDay:
    """What a channel was when a day (UTC) ended."""

    day: datetime.date
    channel: str = DEFAULT_TAG
    written: bool = field(default=True, compare=False)  # False: the text had no channel

    def __str__(self) -> str:
        return (f":{self.channel}" if self.written else "") + f"@{self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class ByDigest:
    """The one state, among those the dataset has or had, whose manifest id begins so."""

    prefix: str  # 12 to 64 lower-case hex digits

    def __str__(self) -> str:
        return f"@{DIGEST_PREFIX}{self.prefix}"


@dataclass(frozen=True, slots=True)
class Reference:
    """One state of one dataset, as people name it."""

    dataset: str
    select: Named | InRange | OnDay | ByDigest

    def __str__(self) -> str:
        return f"{self.dataset}{self.select}"


def parse_dataset(text: str) -> str:
    """Check a dataset's name and return it.

    Raises:
        BadName: it does not fit the grammar, or is reserved.
    """
    scope, slash, name = text.partition("/") if text.startswith("@") else ("", "", text)
    if scope in RESERVED_SCOPES:
        raise _bad(text, f"{scope} is reserved and can't be a scope")
    if scope and not slash:
        raise _bad(text, f"a scope alone; a dataset in it is written {scope}/NAME")
    if scope:
        _check_part(text, scope[1:], "scope")
    _check_part(text, name, "name")
    return text


def is_dataset(text: str) -> bool:
    """Tell whether a dataset can have this name."""
    try:
        parse_dataset(text)
    except BadName:
        return False
    return True


def parse_tag(text: str) -> str:
    """Check a tag and return it.

    Raises:
        BadName: it does not fit the grammar, or is reserved.
    """
    if text[:3].lower() == DIGEST_PREFIX:
        raise _bad(text, "names that begin with b3- are reserved; a state is named by NAME@b3-HEX")
    if not _TAG.fullmatch(text):
        if not text:
            raise _bad(text, "the tag is empty; write NAME:TAG, for example NAME:1.0.0 or NAME:latest")
        if len(text) > 128:
            raise _bad(text, f"a tag of {len(text)} characters; at most 128 are allowed")
        raise _bad(text, "not a tag: letters, digits and . _ + - are allowed, the first a letter or digit")
    return text


def is_tag(text: str) -> bool:
    """Tell whether a text fits the grammar of tags: for names read from the store, which must be told from damage."""
    return bool(_TAG.fullmatch(text)) and text[:3].lower() != DIGEST_PREFIX


def is_state(digits: str) -> bool:
    """Tell whether a text can be a manifest's id, or enough of one to name a state."""
    return bool(_DIGEST.fullmatch(digits))


def kind_of(tag: str) -> TagKind:
    """Decide a new tag's kind. An existing tag's kind is stored with it and never decided again."""
    return TagKind.CHANNEL if parse_version(tag) is None else TagKind.VERSION


def fold(tag: str) -> str:
    """Return what must be unique among the tags of a dataset."""
    return tag.lower()


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        BadName: it is none; the message says what would be right.
    """
    if len(text) > REFERENCE_LIMIT:
        raise _bad(text, f"a reference of {len(text)} characters; at most {REFERENCE_LIMIT} are allowed")
    dataset, rest = _split_dataset(text)
    if rest.startswith("/"):
        raise _bad(text, "a reference without a path is wanted: NAME, NAME:TAG, NAME@RANGE, NAME@DATE or NAME@b3-HEX")
    return Reference(parse_dataset(dataset), _parse_select(text, rest))


def format_reference(reference: Reference) -> str:
    """Write a reference as `parse_reference` reads it."""
    return str(reference)


def split_location(text: str) -> tuple[Reference, str]:
    """Read `REF/PATH`: the reference, and the path without the slash between (empty when there is none).

    A path may hold any character; the first `/` after the dataset's name begins it.

    Raises:
        BadName: the part before the path is no reference.
    """
    dataset, rest = _split_dataset(text)
    select, slash, path = rest.partition("/")
    return parse_reference(dataset + select), path if slash else ""


def _split_dataset(text: str) -> tuple[str, str]:
    found = _HEAD_OF_REFERENCE.match(text)
    end = found.end() if found else 0
    return text[:end], text[end:]


def _parse_select(text: str, rest: str) -> Named | InRange | OnDay | ByDigest:
    if not rest:
        return Named(written=False)
    if rest.startswith(":"):
        tag, at, day_text = rest[1:].partition("@")
        parse_tag(tag)
        if not at:
            return Named(tag)
        day = parse_day(day_text)
        if day is None:
            raise _bad(text, "after NAME:CHANNEL@ comes a date, YYYY-MM-DD")
        if kind_of(tag) is TagKind.VERSION:
            raise _bad(text, f"{tag} is a version and never moves, so leave the date away")
        return OnDay(day, tag)
    wanted = rest[1:]
    if wanted[:3].lower() == DIGEST_PREFIX:
        if not is_state(wanted[3:]):
            raise _bad(text, "a state is named by b3- and 12 to 64 lower-case hex digits of its id")
        return ByDigest(wanted[3:])
    day = parse_day(wanted)
    if day is not None:
        return OnDay(day, written=False)
    if any(mark in wanted for mark in ":@/"):
        raise _bad(text, "after NAME@ comes a range, a date or b3-HEX, and nothing after it")
    try:
        return InRange(parse_range(wanted))
    except BadName as error:
        raise _bad(text, _range_help(error, wanted)) from error


def _range_help(error: BadName, wanted: str) -> str:
    if _TAG.fullmatch(wanted) and kind_of(wanted) is TagKind.CHANNEL:
        return (
            f"after @ comes a range, a date or b3-HEX; a tag comes after a colon, NAME:{wanted[:_SHOWN]}; {RANGE_HELP}"
        )
    return error.why


def _check_part(text: str, part: str, what: str) -> None:
    if _PART.fullmatch(part):
        return
    if not part:
        raise _bad(text, f"the {what} is empty; a dataset is written NAME or @SCOPE/NAME")
    if len(part) > 64:
        raise _bad(text, f"the {what} has {len(part)} characters; at most 64 are allowed")
    lower = part.lower()
    hint = f", for example {lower}" if _PART.fullmatch(lower) else ""
    allowed = f"lower-case letters, digits and . _ - are, the first a letter or digit{hint}"
    raise _bad(text, f"the {what} {part!r} is not allowed: {allowed}")


def _bad(text: str, why: str) -> BadName:
    return BadName(text if len(text) <= _SHOWN else text[:_SHOWN] + "…", why)
