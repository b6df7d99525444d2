"""`/datasets/{name}/tags` and `/datasets/{name}/tags/{tag}`: what tags name, and how they change. Any thread.

A tag's ETag is the state that it names, quoted. Conditions hold in the very commit that changes the tag.
"""

from typing import Any

from auth.principal import Action
from dav.reply import Reply
from dav.wire.dates import date_time
from gateway.operations import tags
from gateway.operations.tags import Condition, Wish
from gateway.web.api.call import Call
from gateway.web.api.context import Context
from gateway.web.api.datasets import href_of
from gateway.web.api.problems import FIXED, json_reply
from store.catalogue.head import TagState
from store.catalogue.refs import DIGEST_PREFIX


def list_tags(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}/tags`: in the order in which they were made."""
    (dataset,) = call.names
    found, following = tags.list_tags(context, call, dataset, call.page())
    document = {"dataset": dataset, "tags": [_described(dataset, tag) for tag in found], "next_page_token": following}
    return json_reply(200, document)


def get_tag(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}/tags/{tag}`."""
    dataset, tag = call.names
    call.query()
    found = tags.get_tag(context, call, dataset, tag)
    etag = _etag(found.content.manifest)
    if call.not_modified(etag):
        return Reply(304, [("ETag", etag), *FIXED])
    return json_reply(200, _described(dataset, found), [("ETag", etag)])


def put_tag(context: Context, call: Call) -> Reply:
    """Answer `PUT /datasets/{name}/tags/{tag}`: makes a tag, or moves a channel."""
    dataset, tag = call.names
    call.query()
    body = call.body("manifest", "reference", "message")
    context.need(call, Action.TAG, dataset)  # before a member that is no text is told of
    wish = Wish(call.text(body, "manifest"), call.text(body, "reference"), call.text(body, "message") or "")
    found, made = tags.set_tag(context, call, dataset, tag, wish, _condition(call))
    where = [("Location", href_of(dataset, "tags", tag))] if made else []
    return json_reply(
        201 if made else 200, _described(dataset, found), [("ETag", _etag(found.content.manifest)), *where]
    )


def delete_tag(context: Context, call: Call) -> Reply:
    """Answer `DELETE /datasets/{name}/tags/{tag}`."""
    dataset, tag = call.names
    call.query()
    tags.delete_tag(context, call, dataset, tag, _condition(call))
    return Reply(204, [*FIXED])


def _condition(call: Call) -> Condition:
    return lambda manifest: call.check_conditions(None if manifest is None else _etag(manifest))


def _etag(manifest: str) -> str:
    return f'"{DIGEST_PREFIX}{manifest}"'


def _described(dataset: str, tag: TagState) -> dict[str, Any]:
    return {
        "tag": tag.tag,
        "kind": tag.kind.value,
        "manifest": DIGEST_PREFIX + tag.content.manifest,
        "size": tag.content.size,
        "files": tag.content.files,
        "time": date_time(tag.moved_ns // 10**9),
        "href": href_of(dataset, "tags", tag.tag),
    }
