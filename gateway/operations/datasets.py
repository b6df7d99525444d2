"""Which datasets whoever asks may read. Any thread; blocks on the bucket.

The list comes in the order of the store's own keys: it stays the same whatever is published between two pages, and a
page is found without looking at those before it.
"""

from typing import Final, NamedTuple

from auth.principal import Action
from gateway.operations.errors import BadArgument
from gateway.operations.pages import NO_PAGE, Page, page_of
from gateway.operations.rights import Asking, Operations
from store.catalogue.listing import in_order
from store.catalogue.refs import is_dataset

TAGS_AGE_S: Final = 1.0  # s: how old the number of tags may be


class Dataset(NamedTuple):
    """What is told of one."""

    name: str
    tags: int
    created_ns: int
    changed_ns: int


def list_datasets(on: Operations, who: Asking, page: Page) -> tuple[list[str], str]:
    """Return the names of a page, and the token of the next one; empty: there is none.

    Raises:
        BadArgument: the page's token is of no such list.
    """
    if page.place and not is_dataset(page.place):
        raise BadArgument(NO_PAGE)
    readable = (
        one.name
        for one in in_order(on.repository.objects, after=page.place)
        if not one.deleted and on.allows(who, Action.READ, one.name)
    )
    return page_of(readable, page.size, place=lambda name: name)


def get_dataset(on: Operations, who: Asking, name: str) -> Dataset:
    """Return what there is to tell of a dataset.

    Raises:
        DatasetMissing, LoginNeeded: see `Operations.need_read`.
    """
    on.need_read(who, name)
    head = on.repository.catalogue.head(name)
    tags = on.repository.catalogue.tags(name, max_age_s=TAGS_AGE_S)
    return Dataset(head.name, len(tags), head.created_ns, head.changed_ns)
