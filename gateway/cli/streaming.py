"""Long results, written as they come: lines for people, or one JSON document whose array grows.

The first thousand items are gathered before anything is written, so that what fails at once (no such dataset) prints no
half of a document, and so that a short result can be put in order and lined up as a whole. What fails later leaves the
document unfinished; the exit code says so. Memory holds a thousand items, however many there are.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import click

from gateway.cli.common import Common, spell_json

BATCH: Final = 1000  # items

T = TypeVar("T")


def stream(
    common: Common,
    document: Mapping[str, object],
    field: str,
    items: Iterable[T],
    *,
    spell: Callable[[T], object],
    lines: Callable[[Sequence[T]], Iterable[str]],
    order: Callable[[T], str] | None = None,
) -> None:
    """Write a result of many items.

    Args:
        common: says whether JSON was asked for.
        document: the other fields of the JSON document.
        field: name of the array.
        items: what it holds.
        spell: returns an item's value in JSON.
        lines: returns the lines of up to `BATCH` items in a row.
        order: by what to sort them, if there are no more than `BATCH`.
    """
    left = iter(items)
    batch = list(itertools.islice(left, BATCH))
    if order is not None:
        ahead = list(itertools.islice(left, 1))
        if not ahead:
            batch.sort(key=order)
        left = itertools.chain(ahead, left)
    if common.json:
        head = spell_json(document)[:-1] + (", " if document else "")
        comma = ",\n" if sys.stdout.isatty() else ", "
        written = f'{head}"{field}": ['
        while batch:
            click.echo(written + comma.join(spell_json(spell(item)) for item in batch), nl=False)
            written = comma
            batch = list(itertools.islice(left, BATCH))
        click.echo(("" if written == comma else written) + "]}")
        return
    while batch:
        click.echo("\n".join(lines(batch)))
        batch = list(itertools.islice(left, BATCH))
