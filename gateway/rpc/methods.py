"""The table of `DatasetService`: which method is answered by which function. Functions block on the bucket; any thread.

`ReadFile`, which streams, is `gateway.rpc.reading`.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from auth.principal import Action
from gateway.operations import datasets, tags
from gateway.operations.files import Files
from gateway.operations.rights import Caller, Operations
from gateway.rpc import messages
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.limits import LISTED


class Context(NamedTuple):
    """What methods stand on."""

    on: Operations
    files: Files


Answer = Callable[[Context, Caller, Any], Any]  # of the request's message -> the answer's


class Method(NamedTuple):
    """One line of the table."""

    name: str
    request: type[Message]
    response: type[Message]
    answer: Answer
    writes: bool = False  # needs a login, where there is any


def who_am_i(context: Context, who: Caller, _request: pb.WhoAmIRequest) -> pb.WhoAmIResponse:
    """Answer `WhoAmI`."""
    principal, on = who.principal, context.on
    return pb.WhoAmIResponse(
        principal=str(principal),
        kind=str(principal.kind),
        name=principal.name,
        groups=sorted(principal.groups),
        owner="" if principal.owner is None else str(principal.owner),
        rules=on.rules(who),
        admin=on.allows(who, Action.ADMIN),
        login=on.settings.login,
    )


def list_datasets(context: Context, who: Caller, request: pb.ListDatasetsRequest) -> pb.ListDatasetsResponse:
    """Answer `ListDatasets`."""
    page = messages.page_of(request.page_size, request.page_token)
    found, following = datasets.list_datasets(context.on, who, page)
    return pb.ListDatasetsResponse(datasets=found, next_page_token=following)


def get_dataset(context: Context, who: Caller, request: pb.GetDatasetRequest) -> pb.Dataset:
    """Answer `GetDataset`."""
    return messages.dataset_of(datasets.get_dataset(context.on, who, request.dataset))


def list_tags(context: Context, who: Caller, request: pb.ListTagsRequest) -> pb.ListTagsResponse:
    """Answer `ListTags`."""
    page = messages.page_of(request.page_size, request.page_token)
    found, following = tags.list_tags(context.on, who, request.dataset, page)
    return pb.ListTagsResponse(tags=(messages.tag_of(request.dataset, tag) for tag in found), next_page_token=following)


def get_tag(context: Context, who: Caller, request: pb.GetTagRequest) -> pb.Tag:
    """Answer `GetTag`."""
    return messages.tag_of(request.dataset, tags.get_tag(context.on, who, request.dataset, request.tag))


def set_tag(context: Context, who: Caller, request: pb.SetTagRequest) -> pb.SetTagResponse:
    """Answer `SetTag`."""
    condition, wish = messages.condition_of(request.condition), messages.wish_of(request)
    found, made = tags.set_tag(context.on, who, request.dataset, request.tag, wish, condition)
    return pb.SetTagResponse(tag=messages.tag_of(request.dataset, found), made=made)


def delete_tag(context: Context, who: Caller, request: pb.DeleteTagRequest) -> pb.DeleteTagResponse:
    """Answer `DeleteTag`."""
    condition = messages.condition_of(request.condition)
    tags.delete_tag(context.on, who, request.dataset, request.tag, condition)
    return pb.DeleteTagResponse()


def list_folder(context: Context, who: Caller, request: pb.ListFolderRequest) -> pb.ListFolderResponse:
    """Answer `ListFolder`."""
    page = messages.page_of(request.page_size, request.page_token)
    where = messages.where_of(request.place)
    return messages.folder_of(context.files.list_folder(who, where, page, most=LISTED))


METHODS: Final = (
    Method("WhoAmI", pb.WhoAmIRequest, pb.WhoAmIResponse, who_am_i),
    Method("ListDatasets", pb.ListDatasetsRequest, pb.ListDatasetsResponse, list_datasets),
    Method("GetDataset", pb.GetDatasetRequest, pb.Dataset, get_dataset),
    Method("ListTags", pb.ListTagsRequest, pb.ListTagsResponse, list_tags),
    Method("GetTag", pb.GetTagRequest, pb.Tag, get_tag),
    Method("SetTag", pb.SetTagRequest, pb.SetTagResponse, set_tag, writes=True),
    Method("DeleteTag", pb.DeleteTagRequest, pb.DeleteTagResponse, delete_tag, writes=True),
    Method("ListFolder", pb.ListFolderRequest, pb.ListFolderResponse, list_folder),
)
