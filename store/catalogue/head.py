"""The head of a dataset: its tags, its recent history, and where the rest of both lies. Values and their JSON.

A head is one compare-and-set object and stays below 256 KiB whatever the dataset grows to: `store.catalogue.history`
moves older history and rarely moved tags into immutable segments before the head is written, and looks them up again.

    {"name", "seq", "operations": [[seq, id], ...], "created": ns, "changed": ns, "deleted": bool,
     "next": {"tag", "entry", "segment"},
     "tags": {tag: {"n", "kind", "manifest", "root", "size", "files", "moved"}},
     "removed": {tag: manifest of a version that may come back for that state only, or ""},
     "history": [{"n", "time", "op", "id", "tags": [...], "state": {...} or null, "from", "message", "by"}, ...],
     "older": [{"n", "level", "first", "last", "since", "until", "digest"}, ...],
     "tagged": [{"n", "count", "digest"}, ...]}

Times are ns since 1970, UTC, by the store's clock, and strictly growing from entry to entry. A dataset's head is never
deleted; removing the dataset leaves a head that is marked, and keeps `seq` and the names of its versions. So that a
listing alone tells them apart, spaces are added until a deleted head is 85 bytes longer than a multiple of 256, and any
other a multiple of it. What was cut short or mangled is rarely of the first sort, so it is listed, and found out.

Immutable values and pure functions, any thread. docs/format.md, Dataset heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from store import jsondoc
from store.catalogue.refs import TagKind, fold, is_tag
from store.commit import Operations, remember
from store.errors import ObjectCorrupt
from store.layout import dataset_key

HEAD_LIMIT: Final = 256 * 1024  # bytes, of one head
TAG_NUMBER_LIMIT: Final = 2**32 - 1  # a tag's number has 32 bits in NFS handles
NEVER: Final = 0
_STEP: Final = 256  # bytes; lengths of heads are multiples of it, but for
_DELETED: Final = 85  # those of removed datasets, which leave this rest: no size that files are cut or padded to does

Op = Literal["push", "tag", "untag", "rollback", "delete"]
Extra = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """One state of a dataset, as the catalogue knows it."""

    manifest: str  # its id, 64 hex digits
    root: str  # digest of the manifest's page table, 64 hex digits
    size: int  # plain bytes of all files
    files: int
    extra: Extra = field(default_factory=dict, compare=False)  # of an entry's state; a tag's stand in the tag


@dataclass(frozen=True, slots=True)
class TagState:
    """A tag and what it names."""

    tag: str
    n: int  # creation number: a tag that is removed and made again gets a new one
    kind: TagKind
    content: Content
    moved_ns: int
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removed:
    """A tag that is no more. It hides an older record of the same name in a segment."""

    tag: str
    manifest: str  # of a version: the only state for which it may come back; of a channel: empty


Record = TagState | Removed


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One commit."""

    n: int  # 1, 2, ... in its dataset
    time_ns: int
    op: str  # an `Op`, or what a later program calls what it did
    operation: str  # the operation id of the commit
    tags: tuple[str, ...]  # those that changed
    content: Content | None  # what they name since; None: they were removed
    origin: int | None  # "from": number of the entry whose state a rollback restores
    message: str
    by: str
    extra: Extra = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, str | None]:
        """Return tag -> manifest, or `None` where the tag was removed."""
        return dict.fromkeys(self.tags, self.content.manifest if self.content else None)

    def touches(self, tag: str) -> bool:
        """Tell whether this entry changed a tag. The removal of a dataset changes all."""
        return self.op == "delete" or fold(tag) in map(fold, self.tags)


@dataclass(frozen=True, slots=True)
class HistoryRef:
    """A segment of history: entries (level 0), or references to segments of one level less."""

    n: int
    level: int
    first: int  # number of its first entry
    last: int
    since_ns: int  # time of its first entry
    until_ns: int
    digest: str  # BLAKE3 of the segment, 64 hex digits
    extra: Extra = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class TagsRef:
    """A segment of tags. Later ones override earlier ones, the head overrides all."""

    n: int
    count: int
    digest: str
    extra: Extra = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Head:
    """One generation of a dataset's head."""

    name: str
    seq: int = 0
    operations: Operations = ()
    created_ns: int = NEVER  # of the dataset; anew when it is made again after its removal
    changed_ns: int = NEVER
    deleted: bool = False
    next_tag: int = 1
    next_entry: int = 1
    next_segment: int = 1
    tags: Mapping[str, Record] = field(default_factory=dict)  # by folded name; complete only if `tagged` is empty
    history: tuple[HistoryEntry, ...] = ()  # the newest, oldest first
    older: tuple[HistoryRef, ...] = ()  # oldest first
    tagged: tuple[TagsRef, ...] = ()  # oldest first
    extra: Extra = field(default_factory=dict)


def advance(
    head: Head,
    records: Mapping[str, Record],
    *,
    now_ns: int,
    op: Op,
    operation: str,
    tags: tuple[str, ...],
    content: Content | None,
    origin: int | None = None,
    message: str = "",
    by: str = "",
) -> Head:
    """Return the next generation of a head, with one more entry in its history.

    Args:
        head: the present one.
        records: what changes, by folded name; the numbers of new tags count up from `head.next_tag`.
        now_ns: the store's clock. The entry's time is never less than 1 ns after the last change.
        op: what is being done.
        operation: the commit's operation id.
        tags: the names that change, for the history.
        content: what they name since, or `None`.
        origin: see `HistoryEntry`.
        message: for the history.
        by: who does it.
    """
    time_ns = max(now_ns, head.changed_ns + 1)
    stamped = {
        key: replace(record, moved_ns=time_ns) if isinstance(record, TagState) else record
        for key, record in records.items()
    }
    numbers = [record.n for record in stamped.values() if isinstance(record, TagState)]
    return replace(
        head,
        seq=head.seq + 1,
        operations=remember(head.operations, head.seq + 1, operation),
        created_ns=head.created_ns if head.created_ns and not head.deleted else time_ns,
        changed_ns=time_ns,
        deleted=op == "delete",
        next_tag=max([head.next_tag, *(n + 1 for n in numbers)]),
        next_entry=head.next_entry + 1,
        tags={**head.tags, **stamped},
        history=(
            *head.history,
            HistoryEntry(head.next_entry, time_ns, op, operation, tags, content, origin, message, by),
        ),
    )


def encode_head(head: Head) -> bytes:
    """Write a head. How long it is, is the caller's to check."""
    data = jsondoc.encode(
        {
            **head.extra,
            "name": head.name,
            "seq": head.seq,
            "operations": [[*pair] for pair in head.operations],
            "created": head.created_ns,
            "changed": head.changed_ns,
            "deleted": head.deleted,
            "next": {"tag": head.next_tag, "entry": head.next_entry, "segment": head.next_segment},
            **records_json(head.tags),
            "history": [entry_json(entry) for entry in head.history],
            "older": [history_ref_json(ref) for ref in head.older],
            "tagged": [{**ref.extra, "n": ref.n, "count": ref.count, "digest": ref.digest} for ref in head.tagged],
        }
    )
    return data + b" " * ((_DELETED * head.deleted - len(data)) % _STEP)


def looks_deleted(size: int) -> bool:
    """Tell from the size of a head alone, as a listing shows it, whether its dataset was removed."""
    return size % _STEP == _DELETED


def decode_head(name: str, data: bytes) -> Head:
    """Read the head of dataset `name`.

    Raises:
        ObjectCorrupt: the bytes are no head, or another dataset's.
    """
    key = dataset_key(name)
    fields = jsondoc.decode(key, data, limit=HEAD_LIMIT)
    following = fields.fields("next")
    found = fields.text("name")
    if found != name:
        raise ObjectCorrupt(key, f"it is the head of {found!r}")
    return Head(
        name=name,
        seq=fields.integer("seq"),
        operations=jsondoc.operations(fields),
        created_ns=fields.integer("created"),
        changed_ns=fields.integer("changed"),
        deleted=fields.take("deleted") is True,
        next_tag=following.integer("tag"),
        next_entry=following.integer("entry"),
        next_segment=following.integer("segment"),
        tags=records_of(fields),
        history=tuple(entry_of(item) for item in fields.objects("history")),
        older=tuple(history_ref_of(item) for item in fields.objects("older")),
        tagged=tuple(
            TagsRef(item.integer("n"), item.integer("count"), item.hex("digest", size=32), item.rest())
            for item in fields.objects("tagged")
        ),
        extra=fields.rest(),
    )


def records_json(records: Mapping[str, Record]) -> dict[str, Any]:
    """Write tags and removed tags, as they stand in heads and in segments."""
    tags: dict[str, Any] = {}
    removed: dict[str, str] = {}
    for record in records.values():
        if isinstance(record, Removed):
            removed[record.tag] = record.manifest
        else:
            about = {"n": record.n, "kind": record.kind.value, "moved": record.moved_ns}
            tags[record.tag] = {**record.extra, **about, **_content_json(record.content)}
    return {"tags": tags, "removed": removed}


def records_of(fields: jsondoc.Fields) -> dict[str, Record]:
    """Read what `records_json` wrote."""
    records: dict[str, Record] = {}
    removed = fields.fields("removed")
    for tag in removed.names():
        records[fold(tag)] = Removed(tag, removed.hex(tag, size=32, optional=True))
    tags = fields.fields("tags")
    for tag in tags.names():
        records[fold(tag)] = _tag_of(tag, tags.fields(tag))
    for record in records.values():
        if not is_tag(record.tag):  # it would become a folder's name, as in "../x"
            fields.fail("tags", "names of tags", record.tag)
    return records


def entry_json(entry: HistoryEntry) -> dict[str, Any]:
    """Write one entry of history."""
    optional = {"message": entry.message, "by": entry.by, "from": entry.origin}
    return {
        **entry.extra,
        "n": entry.n,
        "time": entry.time_ns,
        "op": entry.op,
        "id": entry.operation,
        "tags": [*entry.tags],
        "state": {**entry.content.extra, **_content_json(entry.content)} if entry.content else None,
        **{name: value for name, value in optional.items() if value},
    }


def entry_of(fields: jsondoc.Fields) -> HistoryEntry:
    """Read one entry of history."""
    state = fields.take("state")
    op = fields.text("op")
    if not op.isidentifier():
        fields.fail("op", "a word", op)
    tags = fields.array("tags")
    if not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
        fields.fail("tags", "names", tags)
    return HistoryEntry(
        n=fields.integer("n"),
        time_ns=fields.integer("time"),
        op=op,
        operation=fields.text("id", limit=64),
        tags=tuple(tags),
        content=None if state is None else content_of(fields.inner("state", state)),
        origin=fields.integer("from", default=0) or None,
        message=fields.text("message", limit=8192, default=""),
        by=fields.text("by", limit=1024, default=""),
        extra=fields.rest(),
    )


def content_of(fields: jsondoc.Fields) -> Content:
    """Read what a tag or an entry names."""
    manifest, root = fields.hex("manifest", size=32), fields.hex("root", size=32)
    return Content(manifest, root, fields.integer("size"), fields.integer("files"), fields.rest())


def history_ref_json(ref: HistoryRef) -> dict[str, Any]:
    """Write a reference to a segment of history."""
    return {
        **ref.extra,
        "n": ref.n,
        "level": ref.level,
        "first": ref.first,
        "last": ref.last,
        "since": ref.since_ns,
        "until": ref.until_ns,
        "digest": ref.digest,
    }


def history_ref_of(fields: jsondoc.Fields) -> HistoryRef:
    """Read a reference to a segment of history."""
    return HistoryRef(
        n=fields.integer("n"),
        level=fields.integer("level", limit=8),
        first=fields.integer("first"),
        last=fields.integer("last"),
        since_ns=fields.integer("since"),
        until_ns=fields.integer("until"),
        digest=fields.hex("digest", size=32),
        extra=fields.rest(),
    )


def _content_json(content: Content) -> dict[str, Any]:
    return {"manifest": content.manifest, "root": content.root, "size": content.size, "files": content.files}


def _tag_of(tag: str, fields: jsondoc.Fields) -> TagState:
    kind = fields.text("kind")
    if kind not in (TagKind.VERSION, TagKind.CHANNEL):
        fields.fail("kind", "version or channel", kind)
    return TagState(
        tag=tag,
        n=fields.integer("n", limit=TAG_NUMBER_LIMIT),
        kind=TagKind(kind),
        content=content_of(fields),
        moved_ns=fields.integer("moved"),
        extra=fields.rest(),
    )
