"""`aetherfs diff`. What it prints is written as it is found: two states may differ in a million entries."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click

from gateway.cli.common import Command, Common, pass_common, spell_bytes, spell_count, spell_json, state_name
from gateway.cli.progress import Reading, shown

if TYPE_CHECKING:
    from store.care.diff import Difference, Needed, Side, Summary
    from store.catalogue.catalogue import State
    from store.manifest.view import Manifest

MARKS: Final = {"added": "+", "removed": "-", "changed": "M", "touched": "t"}


@click.command(cls=Command)
@click.argument("before", metavar="REF")
@click.argument("after", metavar="REF")
@click.option("--stat", is_flag=True, help="Only the summary.")
@click.option("--times", is_flag=True, help="List entries too of which only the time differs.")
@pass_common
def diff(common: Common, before: str, after: str, stat: bool, times: bool) -> None:
    """Show what differs between two states, and what a pull of the second has to fetch.

    `+` added, `-` removed, `M` changed (with what: content, executable, target, kind), `t` only its time differs.

    Example:
      aetherfs diff maps:1.0.0 maps:1.1.0
      aetherfs diff maps@2026-11-01 maps --stat
    """
    from store.care.diff import Summary, differences, needed
    from store.catalogue.refs import parse_reference

    references = parse_reference(before), parse_reference(after)
    summary = Summary()
    # What is listed on a terminal is progress enough, and a bar would break its lines.
    quiet = common.quiet or (sys.stdout.isatty() and (common.json or not stat))
    with common.repository() as repository:
        with shown(lambda: _reading(summary), wanted=not quiet):
            states = [repository.catalogue.resolve(reference) for reference in references]
            old, new = (repository.manifest(*_place(state)) for state in states)
            writer = _Json(states) if common.json else _Lines()
            for difference in differences(old, new):
                summary.count(difference)
                if not stat and (times or common.json or difference.what != "touched"):
                    writer.entry(difference)
            fetched = needed(old, new)
        writer.end(summary, fetched, _sizes(old, new), times=times)


def _reading(summary: "Summary") -> Reading:
    found = summary.added + summary.removed + summary.changed
    return Reading("comparing", 0, 0, f"{spell_count(found, 'difference')} so far")


def _place(state: "State") -> tuple[bytes, bytes]:
    return bytes.fromhex(state.manifest), bytes.fromhex(state.content.root)


def _sizes(old: "Manifest", new: "Manifest") -> tuple[int, int]:
    return old.records - 1, new.records - 1


class _Lines:
    """For people."""

    def entry(self, difference: "Difference") -> None:
        from store.errors import printable
        from store.kinds import Kind

        path = printable(difference.path) or "."
        shown = difference.after or difference.before
        slash = "/" if shown is not None and shown.kind is Kind.FOLDER and difference.path else ""
        click.echo(f"{MARKS[difference.what]} {path}{slash}{_remark(difference)}")

    def end(self, summary: "Summary", needed: "Needed", entries: tuple[int, int], *, times: bool) -> None:
        hidden = " (--times lists them)" if summary.touched and not times else ""
        click.echo(
            f"{summary.added} added ({spell_bytes(summary.bytes_added)}), "
            f"{summary.removed} removed ({spell_bytes(summary.bytes_removed)}), "
            f"{summary.changed} changed ({spell_bytes(summary.bytes_changed)} of files with new content), "
            f"{summary.touched} with another time only{hidden}"
        )
        click.echo(
            f"the second needs {spell_count(needed.chunks, 'chunk')} that the first has not: "
            f"{spell_bytes(needed.plain)}, {spell_bytes(needed.stored)} to fetch"
        )


def _remark(difference: "Difference") -> str:
    before, after = difference.before, difference.after
    if before is None or after is None:
        side = before or after
        return f"  {spell_bytes(side.size)}" if side is not None and side.sha256 else ""
    said = []
    for aspect in difference.aspects:
        match aspect:
            case "content":
                said.append(f"content, {spell_bytes(before.size)} -> {spell_bytes(after.size)}")
            case "kind":
                said.append(f"{before.kind.name.lower()} -> {after.kind.name.lower()}")
            case "executable":
                said.append("executable" if after.executable else "not executable any more")
            case "target":
                said.append("target")
            case _:
                pass  # that the time of what changed is another one says nothing
    return f"  ({'; '.join(said)})" if said else ""


class _Json:
    """One JSON document, written piece by piece."""

    def __init__(self, states: "list[State]") -> None:
        named = [
            {"dataset": state.dataset, "tag": state.tag, "manifest": state_name(state.manifest)} for state in states
        ]
        head = spell_json({"before": named[0], "after": named[1]})
        click.echo(head[:-1] + ', "differences": [', nl=False)
        self._comma = ""

    def entry(self, difference: "Difference") -> None:
        document = {
            "path": os.fsdecode(difference.path),
            "path_quoted": quote(difference.path),
            "what": difference.what,
            "aspects": list(difference.aspects),
            "before": _side(difference.before),
            "after": _side(difference.after),
        }
        click.echo(f"{self._comma}\n{spell_json(document)}", nl=False)
        self._comma = ","

    def end(self, summary: "Summary", needed: "Needed", entries: tuple[int, int], *, times: bool) -> None:
        document = {
            "summary": dataclasses.asdict(summary),
            "entries": {"before": entries[0], "after": entries[1]},
            "needed": needed._asdict(),
        }
        click.echo("\n], " + spell_json(document)[1:])


def _side(side: "Side | None") -> dict[str, object] | None:
    if side is None:
        return None
    document: dict[str, object] = {"kind": side.kind.name.lower(), "mtime_ns": side.mtime_ns}
    if side.sha256:
        document |= {"size": side.size, "executable": side.executable, "sha256": side.sha256.hex()}
    links = {"target": os.fsdecode(side.target), "target_quoted": quote(side.target)}
    return document | (links if side.target else {})
