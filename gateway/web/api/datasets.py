"""`/datasets` and `/datasets/{name}`: which datasets whoever asks may read. Any thread."""

from dav.reply import Reply
from dav.wire.dates import date_time
from dav.wire.paths import quote_name
from gateway.operations import datasets
from gateway.web.api.call import Call
from gateway.web.api.context import Context
from gateway.web.api.problems import json_reply


def list_datasets(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets`."""
    found, following = datasets.list_datasets(context, call, call.page())
    document = {"datasets": [{"name": name, "href": href_of(name)} for name in found], "next_page_token": following}
    return json_reply(200, document)


def get_dataset(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}`."""
    (name,) = call.names
    call.query()
    found = datasets.get_dataset(context, call, name)
    document = {
        "name": found.name,
        "href": href_of(found.name),
        "tags": found.tags,
        "created": date_time(found.created_ns // 10**9),
        "changed": date_time(found.changed_ns // 10**9),
    }
    return json_reply(200, document)


def href_of(dataset: str, *more: str) -> str:
    """Return where a dataset, or what is below it, is in this interface."""
    return "/".join(("/api/v1/datasets", *(quote_name(part.encode()) for part in (dataset, *more))))
