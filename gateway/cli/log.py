"""`aetherfs log`."""

import itertools
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Command, Common, pass_common, spell_time, state_name
from gateway.cli.streaming import stream

if TYPE_CHECKING:
    from store.catalogue.head import HistoryEntry


@click.command(cls=Command)
@click.argument("name", metavar="NAME[:TAG]")
@click.option("-n", "--limit", type=click.IntRange(1), default=100, show_default=True, help="Most entries shown.")
@pass_common
def log(common: Common, name: str, limit: int) -> None:
    """Show the history of a dataset, or of one of its tags, newest first.

    Example:
      aetherfs log maps:latest
    """
    from store.catalogue.refs import parse_dataset, parse_tag

    dataset, colon, tag = name.partition(":")
    parse_dataset(dataset)
    with common.repository() as repository:
        history = repository.catalogue.log(dataset, parse_tag(tag) if colon else None)
        stream(
            common,
            {"dataset": dataset},
            "entries",
            itertools.islice(history, limit),
            spell=_spell,
            lines=lambda entries: map(_line, entries),
        )


def _spell(entry: "HistoryEntry") -> dict[str, object]:
    return {
        "n": entry.n,
        "time": spell_time(entry.time_ns),
        "op": entry.op,
        "tags": list(entry.tags),
        "manifest": state_name(entry.content.manifest) if entry.content else None,
        "size": entry.content.size if entry.content else None,
        "files": entry.content.files if entry.content else None,
        "message": entry.message,
        "by": entry.by,
    }


def _line(entry: "HistoryEntry") -> str:
    from store.errors import printable

    state = state_name(entry.content.manifest)[:15] if entry.content else "-"
    said = f"  {printable(entry.message)}" if entry.message else ""
    return f"{spell_time(entry.time_ns)}  {entry.op:8}  {state:15}  {' '.join(entry.tags)}  ({entry.by}){said}"
