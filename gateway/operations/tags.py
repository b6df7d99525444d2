"""What tags name, and how they change. Any thread; blocks on the bucket.

A condition is a function of the state that a tag names now, `None` for no tag, which raises `ConditionFailed` or says
whether it is to hold in the very commit that changes the tag, too.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from auth.principal import Action
from gateway.access import audit as events
from gateway.operations.errors import BadArgument, BadWish, ConditionFailed
from gateway.operations.pages import NO_PAGE, Page, page_of
from gateway.operations.rights import Asking, Operations
from store.catalogue.catalogue import State
from store.catalogue.head import TagState
from store.catalogue.refs import DIGEST_PREFIX, parse_reference, parse_tag
from store.errors import Conflict, DatasetMissing, TagMissing, TagMoved
from store.push.reliance import standing

MOST_DIGITS: Final = 20  # of a tag's number, in a page token

Condition = Callable[[str | None], bool]  # of the manifest's hex digits


class Wish(NamedTuple):
    """Which state a tag is to name: by one of the two."""

    manifest: str | None  # b3-HEX of a state that the dataset has or had
    reference: str | None  # such as maps:1.0.0
    message: str = ""  # for the dataset's history


def list_tags(on: Operations, who: Asking, dataset: str, page: Page) -> tuple[list[TagState], str]:
    """Return the tags of a page, in the order in which they were made, and the token of the next one.

    Raises:
        BadArgument: the page's token is of no such list.
        DatasetMissing, LoginNeeded: see `Operations.need_read`.
    """
    place = page.place
    if place and not (place.isdecimal() and len(place) <= MOST_DIGITS):
        raise BadArgument(NO_PAGE)
    on.need_read(who, dataset)
    behind = int(place or "0")
    tags = (tag for tag in on.repository.catalogue.tags(dataset) if tag.n > behind)
    return page_of(tags, page.size, place=lambda tag: str(tag.n))


def get_tag(on: Operations, who: Asking, dataset: str, tag: str) -> TagState:
    """Return a tag as it is now.

    Raises:
        TagMissing, BadName: there is none.
        DatasetMissing, LoginNeeded: see `Operations.need_read`.
    """
    on.need_read(who, dataset)
    found = _find(on, dataset, parse_tag(tag))
    if found is None:
        raise TagMissing(dataset, f"tag {tag!r}")
    return found


def set_tag(
    on: Operations, who: Asking, dataset: str, tag: str, wish: Wish, condition: Condition
) -> tuple[TagState, bool]:
    """Make a tag, or move a channel.

    Returns:
        The tag, and whether there was none before.

    Raises:
        BadWish: it names no state, or two.
        ConditionFailed: the condition does not hold, or not any more.
        TagExists, TagNameTaken, DatasetMissing, TagMissing: as the catalogue says.
        NotAllowed, LoginNeeded: see `Operations.need`.
    """
    on.need(who, Action.TAG, dataset)
    parse_tag(tag)
    state = _wanted(on, who, dataset, wish)
    before = _find(on, dataset, tag, absent=True)
    conditional = condition(None if before is None else before.content.manifest)
    expect = {tag: "" if before is None else before.content.manifest} if conditional else None
    try:
        with standing(on.repository, dataset) as guard:
            change = on.repository.catalogue.set_tags(
                dataset, [tag], state.content,
                message=wish.message, by=str(who.principal), op="tag", expect=expect, guard=guard,
            )  # fmt: skip
    except TagMoved as error:
        raise ConditionFailed(f"{dataset}:{tag} was changed meanwhile") from error
    except Conflict as error:
        on.note(who, events.MOVE, events.REFUSED, dataset=dataset, tag=tag, why=str(error))
        raise
    on.note(
        who, events.MOVE, events.OK, dataset=dataset, tag=tag, manifest=DIGEST_PREFIX + state.manifest,
        changed=bool(change.changed),
    )  # fmt: skip
    found = _find(on, dataset, tag)
    if found is None:  # somebody has removed it since
        raise TagMissing(dataset, f"tag {tag!r}")
    return found, before is None


def delete_tag(on: Operations, who: Asking, dataset: str, tag: str, condition: Condition) -> None:
    """Remove a tag.

    Raises:
        TagMissing, BadName: there is none.
        ConditionFailed: the condition does not hold, or not any more.
        DatasetMissing, NotAllowed, LoginNeeded: see `Operations.need`.
    """
    on.need(who, Action.DELETE, dataset)
    found = _find(on, dataset, parse_tag(tag))
    if found is None:
        raise TagMissing(dataset, f"tag {tag!r}")
    conditional = condition(found.content.manifest)
    try:
        on.repository.catalogue.untag(
            dataset, tag, by=str(who.principal), expect=found.content.manifest if conditional else None
        )
    except TagMoved as error:
        raise ConditionFailed(f"{dataset}:{tag} was changed meanwhile") from error
    on.note(who, events.DELETE, events.OK, dataset=dataset, tag=tag)


def _wanted(on: Operations, who: Asking, dataset: str, wish: Wish) -> State:
    """Find the state that is wished for: one that the dataset has or had, or one of another that may be read."""
    manifest, reference = wish.manifest, wish.reference
    if (manifest is None) == (reference is None):
        raise BadWish("say which state: either 'manifest', b3-..., or 'reference', such as maps:1.0.0")
    if manifest is not None and not manifest.startswith(DIGEST_PREFIX):
        raise BadWish("'manifest' is b3- and 12 to 64 hex digits")
    wanted = parse_reference(f"{dataset}@{manifest}" if manifest is not None else reference or "")
    if wanted.dataset != dataset:
        on.need_read(who, wanted.dataset)
    return on.repository.catalogue.resolve(wanted)


def _find(on: Operations, dataset: str, tag: str, *, absent: bool = False) -> TagState | None:
    """Return a tag as it is now, `None` if there is none; with `absent`, also where there is no such dataset."""
    try:
        tags = on.repository.catalogue.tags(dataset)
    except DatasetMissing:
        if absent:
            return None
        raise
    return next((found for found in tags if found.tag == tag), None)
