"""Values of `gateway.operations` <-> messages of `aetherfs.v1`. Pure; any thread."""

from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.operations import files, tags
from gateway.operations.datasets import Dataset
from gateway.operations.errors import BadArgument, ConditionFailed
from gateway.operations.pages import PAGE_SIZE, Page, parse_page
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from store.catalogue.head import TagState
from store.catalogue.refs import DIGEST_PREFIX, TagKind
from store.vfs.tree import Kind

_KINDS: Final = {TagKind.VERSION: pb.Tag.VERSION, TagKind.CHANNEL: pb.Tag.CHANNEL}
_ENTRIES: Final = {Kind.FILE: pb.Entry.FILE, Kind.FOLDER: pb.Entry.FOLDER, Kind.LINK: pb.Entry.LINK}
_HEX: Final = frozenset("0123456789abcdef")
_FULL: Final = 64  # hex digits of a state

M = TypeVar("M", bound=Message)


def parsed(kind: type[M], data: bytes) -> M:
    """Read a request.

    Raises:
        BadArgument: it is no such message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadArgument(f"the request is no {kind.DESCRIPTOR.full_name}") from error


def page_of(size: int, token: str) -> Page:
    """Read which page of a list is asked for.

    Raises:
        BadArgument: none that there could be.
    """
    return parse_page(token, size or PAGE_SIZE)


def time_of(time_ns: int) -> Timestamp:
    """Return a time since 1970 (which may be before)."""
    seconds, nanos = divmod(time_ns, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)


def dataset_of(found: Dataset) -> pb.Dataset:
    """Return what is told of a dataset."""
    return pb.Dataset(
        dataset=found.name, tags=found.tags, created=time_of(found.created_ns), changed=time_of(found.changed_ns)
    )


def tag_of(dataset: str, tag: TagState) -> pb.Tag:
    """Return what is told of a tag."""
    return pb.Tag(
        dataset=dataset,
        tag=tag.tag,
        kind=_KINDS[tag.kind],
        manifest=DIGEST_PREFIX + tag.content.manifest,
        size=tag.content.size,
        files=tag.content.files,
        time=time_of(tag.moved_ns),
    )


def wish_of(request: pb.SetTagRequest) -> tags.Wish:
    """Read which state a tag is to name."""
    kind = request.WhichOneof("state")
    return tags.Wish(
        request.manifest if kind == "manifest" else None,
        request.reference if kind == "reference" else None,
        request.message,
    )


def condition_of(condition: pb.Condition) -> tags.Condition:
    """Read under which condition a tag is to be changed.

    Raises:
        BadArgument: by a state of which not all digits are told.
    """
    kind = condition.WhichOneof("of")
    if kind is None:
        return lambda _manifest: False
    check = _same(condition.manifest) if kind == "manifest" else _there if not condition.absent else _not_there
    return check


def _same(wanted: str) -> Callable[[str | None], bool]:
    digits = wanted.removeprefix(DIGEST_PREFIX)
    if not wanted.startswith(DIGEST_PREFIX) or len(digits) != _FULL or not _HEX.issuperset(digits):
        raise BadArgument(f"condition.manifest is {DIGEST_PREFIX} and {_FULL} hex digits")

    def check(manifest: str | None) -> bool:
        if manifest != digits:
            raise ConditionFailed(f"it does not name {wanted}, but {_spelled(manifest)}")
        return True

    return check


def _there(manifest: str | None) -> bool:
    if manifest is None:
        raise ConditionFailed("there is no such tag")
    return True


def _not_there(manifest: str | None) -> bool:
    if manifest is not None:
        raise ConditionFailed(f"there is such a tag: it names {_spelled(manifest)}")
    return True


def _spelled(manifest: str | None) -> str:
    return "nothing: there is no such tag" if manifest is None else DIGEST_PREFIX + manifest


def where_of(place: pb.Place) -> files.Where:
    """Read which file or folder is asked for."""
    path = place.raw_path if place.WhichOneof("below") == "raw_path" else place.path.encode()
    return files.Where(place.dataset, place.tag, path)


def folder_of(folder: files.Folder) -> pb.ListFolderResponse:
    """Return a page of a folder."""
    return pb.ListFolderResponse(
        manifest=folder.state, entries=map(_entry, folder.entries), next_page_token=folder.following
    )


def _entry(entry: files.Entry) -> pb.Entry:
    name = entry.name.decode("utf-8", "replace")
    node = entry.node
    return pb.Entry(
        name=name,
        raw_name=b"" if name.encode() == entry.name else entry.name,
        kind=_ENTRIES[node.kind],
        size=node.size if node.kind is Kind.FILE else 0,
        time=time_of(node.mtime_ns),
        executable=node.executable,
        target=entry.target.decode("utf-8", "replace"),
    )


def head_of(part: files.Part) -> pb.ReadFileResponse.Head:
    """Return what is told of a file before its bytes."""
    return pb.ReadFileResponse.Head(
        manifest=part.state,
        size=part.node.size,
        offset=part.offset,
        length=part.length,
        time=time_of(part.node.mtime_ns),
        sha256=part.sha256,
    )
