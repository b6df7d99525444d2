"""The rules by which tags may change: from a head and a wish to the records that are to be written, or a `Conflict`.

A version never moves: setting it to the state that it has is no change, to another is `TagExists`, and one that was
removed may come back for its own state only. A channel moves freely, except where its mover said what it must be.
Two names that differ by case alone can't both be tags, since some clients could not tell them apart.

Functions of (head, wish) that write nothing; the archive may be read. Any thread. docs/format.md, Tags.
"""

import datetime
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from store.catalogue.head import TAG_NUMBER_LIMIT, Content, Head, HistoryEntry, Record, Removed, TagState
from store.catalogue.history import Archive
from store.catalogue.refs import DIGEST_PREFIX, TagKind, fold, kind_of, parse_tag
from store.errors import BadName, StoreFull, TagExists, TagMissing, TagMoved, TagNameTaken

TAGS_A_COMMIT: Final = 256  # bounds what one commit adds to a head
MESSAGE_LIMIT: Final = 4096  # bytes of UTF-8
BY_LIMIT: Final = 256

ABSENT: Final = ""


class Wish(NamedTuple):
    """What a publisher wants: all of it, in one change, or nothing."""

    tags: tuple[str, ...]
    content: Content
    expect: Mapping[str, str] = {}  # channel -> what it must be (an id, or 12 digits of it or more), or ABSENT
    parents: Mapping[str, str] = {}  # channel -> what it was when the work began; a mover with the same aim is forgiven


class Plan(NamedTuple):
    """What has to be written: nothing, when `tags` is empty."""

    tags: tuple[str, ...]
    records: Mapping[str, Record]


def check_wish(wish: Wish, message: str, by: str) -> None:
    """Check what does not depend on the head.

    Raises:
        BadName: a tag does not fit the grammar, twice the same, too many, or a text too long.
    """
    for tag in (*wish.tags, *wish.expect):
        parse_tag(tag)
    seen: dict[str, str] = {}
    for tag in wish.tags:
        if seen.setdefault(fold(tag), tag) != tag:
            raise BadName(tag, f"differs from {seen[fold(tag)]!r}, which is set at once, by upper and lower case alone")
    if not 1 <= len(seen) <= TAGS_A_COMMIT:
        raise BadName(" ".join(wish.tags[:3]), f"{len(seen)} tags are set at once; 1 to {TAGS_A_COMMIT} are allowed")
    check_texts(message, by)


def check_texts(message: str, by: str) -> None:
    """Check that a message and a publisher's name are short enough.

    Raises:
        BadName: they are not.
    """
    for text, what, limit in ((message, "message", MESSAGE_LIMIT), (by, "publisher's name", BY_LIMIT)):
        size = len(text.encode("utf-8", "replace"))
        if size > limit:
            raise BadName(text[:40] + "…", f"a {what} of {size} bytes; at most {limit} are allowed")


def plan_set(archive: Archive, head: Head, wish: Wish) -> Plan:
    """Decide what setting tags has to write.

    Raises:
        TagExists, TagMoved, TagNameTaken: see the module.
        StoreFull: the dataset has used up its 2**32 - 1 tag numbers.
    """
    records: dict[str, Record] = {}
    numbers = iter(range(head.next_tag, TAG_NUMBER_LIMIT + 1))
    for tag in dict.fromkeys(wish.tags):
        record = archive.record(head, fold(tag))
        made = _set_one(archive, head, wish, tag, record, numbers)
        if made is not None:
            records[fold(tag)] = made
    for tag in wish.expect:
        if fold(tag) not in map(fold, wish.tags):
            _check_expected(archive, head, tag, archive.record(head, fold(tag)), wish.expect[tag])
    return Plan(tuple(r.tag for r in records.values()), records)


def plan_removal(archive: Archive, head: Head, tag: str, expect: str | None) -> Plan:
    """Decide what removing one tag has to write.

    Raises:
        TagMissing: no such tag.
        TagMoved: it is not what was expected.
    """
    record = live(archive, head, tag)
    if expect is not None:
        _check_expected(archive, head, tag, record, expect)
    return Plan((tag,), {fold(tag): _removed(record)})


def plan_deletion(archive: Archive, head: Head) -> Plan:
    """Decide what removing a whole dataset has to write: only the names of versions stay."""
    records = archive.records(head)
    return Plan((), {key: _removed(r) if isinstance(r, TagState) else r for key, r in records.items()})


def plan_rollback(archive: Archive, head: Head, channel: str, expect: str | None) -> tuple[Plan, HistoryEntry]:
    """Decide what moving a channel back to its previous state has to write, and which entry that state is from.

    What a rollback restored is left behind by the next one, so that repeating it goes further back.

    Raises:
        TagMissing: no such channel, or nothing before its present state.
        TagMoved: it is not what was expected.
        BadName: it is a version.
    """
    record = live(archive, head, channel)
    if record.kind is TagKind.VERSION:
        raise BadName(f"{head.name}:{channel}", "a version never moves; only channels have a state to go back to")
    if expect is not None:
        _check_expected(archive, head, channel, record, expect)
    before: int | None = None
    for entry in lived(archive, head):
        if not entry.touches(channel) or (before is not None and entry.n >= before):
            continue
        if before is None or (entry.content and entry.content.manifest == record.content.manifest):
            # The present state: look before the entry that it stems from, not before the one that restored it.
            before = entry.origin or entry.n
        elif entry.content is not None:
            moved = TagState(channel, record.n, record.kind, entry.content, record.moved_ns, record.extra)
            return Plan((channel,), {fold(channel): moved}), entry
    raise TagMissing(head.name, f"state of {channel!r} before the present one")


def live(archive: Archive, head: Head, tag: str) -> TagState:
    """Return a tag that there is now.

    Raises:
        TagMissing: there is none of exactly that name.
    """
    record = archive.record(head, fold(tag))
    if not isinstance(record, TagState) or record.tag != tag:
        raise TagMissing(head.name, f"tag {tag!r}")
    return record


def lived(archive: Archive, head: Head, *, before_ns: int | None = None) -> Iterator[HistoryEntry]:
    """Yield the dataset's history, newest first, back to its creation: not what one of the same name was before."""
    for entry in archive.entries(head, before_ns=before_ns):
        if entry.time_ns < head.created_ns:
            return
        yield entry


def _set_one(
    archive: Archive, head: Head, wish: Wish, tag: str, record: Record | None, numbers: Iterator[int]
) -> TagState | None:
    """Return the record to write for one tag, or `None` when it is as wished already."""
    wanted = wish.content.manifest
    if isinstance(record, Removed) and not record.manifest:
        record = None
    if record is not None and record.tag != tag:
        raise TagNameTaken(head.name, tag, record.tag)
    if tag in wish.expect:
        _check_expected(archive, head, tag, record, wish.expect[tag])
    if isinstance(record, TagState):
        if record.content.manifest == wanted:
            return None
        if record.kind is TagKind.VERSION:
            raise TagExists(head.name, tag, record.content.manifest, wanted)
        if tag in wish.parents:
            _check_expected(archive, head, tag, record, wish.parents[tag])
        return TagState(tag, record.n, record.kind, wish.content, record.moved_ns, record.extra)
    if isinstance(record, Removed):
        if record.manifest != wanted:
            raise TagExists(head.name, tag, record.manifest, wanted)
        kind = TagKind.VERSION
    else:
        kind = kind_of(tag)
        if kind is TagKind.CHANNEL and tag in wish.parents:
            _check_expected(archive, head, tag, record, wish.parents[tag])
    number = next(numbers, None)
    if number is None:
        raise StoreFull(f"dataset {head.name}: its tag numbers are used up")
    return TagState(tag, number, kind, wish.content, 0)


def _check_expected(archive: Archive, head: Head, tag: str, record: Record | None, expected: str) -> None:
    actual = record.content.manifest if isinstance(record, TagState) and record.tag == tag else ABSENT
    expected = expected.removeprefix(DIGEST_PREFIX)
    if actual == expected or (len(expected) >= 12 and actual.startswith(expected)):
        return
    raise TagMoved(head.name, tag, expected, actual, _winner(archive.entries(head), tag))


def _winner(entries: Iterator[HistoryEntry], tag: str) -> str:
    entry = next((entry for entry in entries if entry.touches(tag)), None)
    if entry is None:
        return ""
    when = datetime.datetime.fromtimestamp(entry.time_ns // 10**9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    who = f" by {entry.by}" if entry.by else ""
    return f"since {when}{who} ({entry.op}, operation {entry.operation})"


def _removed(record: TagState) -> Removed:
    return Removed(record.tag, record.content.manifest if record.kind is TagKind.VERSION else ABSENT)
