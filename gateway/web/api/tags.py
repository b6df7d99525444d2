"""`/datasets/{name}/tags` and `/datasets/{name}/tags/{tag}`: what tags name, and how they change. Any thread.

A tag's ETag is the state that it names, quoted. Conditions hold in the very commit that changes the tag.
"""

from typing import Any

from auth.principal import Action
from dav.reply import Reply
from dav.wire.dates import date_time
from gateway.access import audit as events
from gateway.web.api.call import NO_PAGE, Call, page_of
from gateway.web.api.context import Context
from gateway.web.api.datasets import href_of
from gateway.web.api.problems import FIXED, Problem, json_reply
from store.catalogue.catalogue import State
from store.catalogue.head import TagState
from store.catalogue.refs import DIGEST_PREFIX, parse_reference, parse_tag
from store.errors import Conflict, DatasetMissing, TagMissing, TagMoved
from store.push.reliance import standing

MOST_DIGITS = 20  # of a tag's number, in a page token


def list_tags(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}/tags`: in the order in which they were made."""
    (dataset,) = call.names
    place, size = call.page()
    if place and not (place.isdecimal() and len(place) <= MOST_DIGITS):
        raise Problem(400, NO_PAGE)
    context.need_read(call, dataset)
    behind = int(place or "0")
    tags = (tag for tag in context.repository.catalogue.tags(dataset) if tag.n > behind)
    found, following = page_of(tags, size, place=lambda tag: str(tag.n))
    document = {"dataset": dataset, "tags": [_described(dataset, tag) for tag in found], "next_page_token": following}
    return json_reply(200, document)


def get_tag(context: Context, call: Call) -> Reply:
    """Answer `GET /datasets/{name}/tags/{tag}`."""
    dataset, tag = call.names
    call.query()
    context.need_read(call, dataset)
    found = _find(context, dataset, parse_tag(tag))
    if found is None:
        raise TagMissing(dataset, f"tag {tag!r}")
    etag = _etag(found.content.manifest)
    if call.not_modified(etag):
        return Reply(304, [("ETag", etag), *FIXED])
    return json_reply(200, _described(dataset, found), [("ETag", etag)])


def put_tag(context: Context, call: Call) -> Reply:
    """Answer `PUT /datasets/{name}/tags/{tag}`: makes a tag, or moves a channel."""
    dataset, tag = call.names
    call.query()
    body = call.body("manifest", "reference", "message")
    context.need(call, Action.TAG, dataset)
    parse_tag(tag)
    message = call.text(body, "message") or ""
    state = _wanted(context, call, dataset, body)
    before = _find(context, dataset, tag, absent=True)
    conditional = call.check_conditions(None if before is None else _etag(before.content.manifest))
    expect = {tag: "" if before is None else before.content.manifest} if conditional else None
    try:
        with standing(context.repository, dataset) as guard:
            change = context.repository.catalogue.set_tags(
                dataset, [tag], state.content,
                message=message, by=str(call.principal), op="tag", expect=expect, guard=guard,
            )  # fmt: skip
    except TagMoved as error:
        raise Problem(412, f"{dataset}:{tag} was changed meanwhile") from error
    except Conflict as error:
        context.note(call, events.MOVE, events.REFUSED, dataset=dataset, tag=tag, why=str(error))
        raise
    context.note(
        call, events.MOVE, events.OK, dataset=dataset, tag=tag, manifest=DIGEST_PREFIX + state.manifest,
        changed=bool(change.changed),
    )  # fmt: skip
    found = _find(context, dataset, tag)
    if found is None:  # somebody has removed it since
        raise TagMissing(dataset, f"tag {tag!r}")
    made = before is None
    where = [("Location", href_of(dataset, "tags", tag))] if made else []
    return json_reply(
        201 if made else 200, _described(dataset, found), [("ETag", _etag(found.content.manifest)), *where]
    )


def delete_tag(context: Context, call: Call) -> Reply:
    """Answer `DELETE /datasets/{name}/tags/{tag}`."""
    dataset, tag = call.names
    call.query()
    context.need(call, Action.DELETE, dataset)
    found = _find(context, dataset, parse_tag(tag))
    if found is None:
        raise TagMissing(dataset, f"tag {tag!r}")
    conditional = call.check_conditions(_etag(found.content.manifest))
    try:
        context.repository.catalogue.untag(
            dataset, tag, by=str(call.principal), expect=found.content.manifest if conditional else None
        )
    except TagMoved as error:
        raise Problem(412, f"{dataset}:{tag} was changed meanwhile") from error
    context.note(call, events.DELETE, events.OK, dataset=dataset, tag=tag)
    return Reply(204, [*FIXED])


def _wanted(context: Context, call: Call, dataset: str, body: dict[str, Any]) -> State:
    """Find the state that a body names: one that the dataset has or had, or one of another that may be read."""
    manifest, reference = call.text(body, "manifest"), call.text(body, "reference")
    if (manifest is None) == (reference is None):
        raise Problem(422, "say which state: either 'manifest', b3-..., or 'reference', such as maps:1.0.0")
    if manifest is not None and not manifest.startswith(DIGEST_PREFIX):
        raise Problem(422, "'manifest' is b3- and 12 to 64 hex digits")
    wanted = parse_reference(f"{dataset}@{manifest}" if manifest is not None else reference or "")
    if wanted.dataset != dataset:
        context.need_read(call, wanted.dataset)
    return context.repository.catalogue.resolve(wanted)


def _find(context: Context, dataset: str, tag: str, *, absent: bool = False) -> TagState | None:
    """Return a tag as it is now, `None` if there is none; with `absent`, also where there is no such dataset."""
    try:
        tags = context.repository.catalogue.tags(dataset)
    except DatasetMissing:
        if absent:
            return None
        raise
    return next((found for found in tags if found.tag == tag), None)


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
