"""`/datasets` and `/datasets/{name}`: which datasets whoever asks may read. Any thread.

The list comes in the order of the store's own keys: it stays the same whatever is published between two pages, and a
page is found without looking at those before it.
"""

from typing import Any

from auth.principal import Action
from dav.reply import Reply
from dav.wire.dates import date_time
from dav.wire.paths import quote_name
from gateway.web.api.call import NO_PAGE, Call, page_of
from gateway.web.api.context import Context
from gateway.web.api.problems import Problem, json_reply
from store.catalogue.head import Head
from store.catalogue.listing import in_order
from store.catalogue.refs import is_dataset


def list_datasets(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets`."""
    place, size = call.page()
    if place and not is_dataset(place):
        raise Problem(400, NO_PAGE)
    readable = (
        one.name
        for one in in_order(context.repository.objects, after=place)
        if not one.deleted and context.allows(call, Action.READ, one.name)
    )
    found, following = page_of(readable, size, place=lambda name: name)
    document = {"datasets": [{"name": name, "href": href_of(name)} for name in found], "next_page_token": following}
    return json_reply(200, document)


def get_dataset(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}`."""
    (name,) = call.names
    call.query()
    context.need_read(call, name)
    return json_reply(200, _described(context, context.repository.catalogue.head(name)))


def href_of(dataset: str, *more: str) -> str:
    """Return where a dataset, or what is below it, is in this interface."""
    return "/".join(("/api/v1/datasets", *(quote_name(part.encode()) for part in (dataset, *more))))


def _described(context: Context, head: Head) -> dict[str, Any]:
    tags = context.repository.catalogue.tags(head.name, max_age_s=1.0)
    return {
        "name": head.name,
        "href": href_of(head.name),
        "tags": len(tags),
        "created": date_time(head.created_ns // 10**9),
        "changed": date_time(head.changed_ns // 10**9),
    }
