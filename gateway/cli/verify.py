"""`aetherfs verify`."""

import contextlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from gateway.cli.common import Command, Common, pass_common, spell_bytes, spell_count
from gateway.cli.progress import Reading, shown

if TYPE_CHECKING:
    from store.care.findings import Finding
    from store.care.verify import Verified, VerifyCounters


@click.command(cls=Command)
@click.argument("ref", required=False)
@click.option("--deep", is_flag=True, help="Read, decode and digest every block and every file too.")
@pass_common
@click.pass_context
def verify(ctx: click.Context, common: Common, ref: str | None, deep: bool) -> None:
    """Check the whole store, or the state REF with all that it needs.

    Goes on whatever it finds, then names every object with a fault, the tags and files it touches, and what to do.
    Exits 6 if anything is damaged or missing.

    Example:
      aetherfs verify
      aetherfs verify maps:1.0.0 --deep
    """
    from gateway.exits import CORRUPT
    from gateway.stores import Options, connect, looks_encrypted, open_record, unseen
    from store.care.verify import VerifyCounters
    from store.care.verify import verify as check
    from store.catalogue.refs import parse_reference

    wanted = parse_reference(ref) if ref else None
    counters = VerifyCounters()
    from store.catalogue.catalogue import Catalogue, Seen
    from store.errors import Corrupt, ObjectMissing, StoreMissing
    from store.layout import ROOT_KEY
    from store.root import StoreRoot, in_plain

    settings = common.settings()
    lying, _ = connect(settings, Options(on_wait=common.waiting, on_long=common.remark), create=False)
    with contextlib.closing(lying), shown(lambda: _reading(counters), wanted=not common.quiet):
        root: StoreRoot | None = None
        seen: Seen = unseen
        try:
            root, seen = open_record(settings, lying)
        except (Corrupt, StoreMissing) as error:  # what is damaged may be the record: a plain store is checked without
            if looks_encrypted(settings, lying) and isinstance(error, StoreMissing):
                raise ObjectMissing(ROOT_KEY, lying.address) from error
            if looks_encrypted(settings, lying) or wanted is not None:
                raise
        objects = lying if root is None else in_plain(lying, root)
        state = Catalogue(objects, root, seen=seen).resolve(wanted) if wanted is not None and root is not None else None
        done = check(objects, state=state, deep=deep, counters=counters, root=root, seen=seen)
    common.result(_document(done), list(_lines(done)))
    if done.findings:
        ctx.exit(CORRUPT)


def _reading(counters: "VerifyCounters") -> Reading:
    detail = f"{counters.done} done, {counters.faults} objects with faults"
    return Reading(counters.phase, counters.bytes_done, counters.bytes_total, detail)


def _document(done: "Verified") -> dict[str, object]:
    return {
        "ok": not done.findings,
        "deep": done.deep,
        "datasets": done.datasets,
        "states": done.states,
        "packs": done.packs,
        "index_segments": done.segments,
        "files": done.files,
        "bytes_read": done.bytes_read,
        "requests": done.requests,
        "fetched_bytes": done.bytes_fetched,
        "unnamed_manifests": done.unnamed_manifests,
        "unnamed_packs": done.unnamed_packs,
        "findings": [
            {
                "object": finding.key,
                "kind": finding.kind,
                "fault": "missing" if finding.missing else "damaged",
                "reasons": finding.reasons,
                "more_reasons": finding.more_reasons,
                "touches": finding.names,
                "more_touches": finding.more_names,
                "files": [
                    {"in": name, "path": os.fsdecode(path), "path_quoted": quote(path)} for name, path in finding.files
                ],
                "more_files": finding.more_files,
                "advice": finding.advice,
            }
            for finding in done.findings.all()
        ],
        "more_findings": done.findings.beyond,
    }


def _lines(done: "Verified") -> "list[str]":
    lines = [line for finding in done.findings.all() for line in _finding(finding)]
    if done.findings.beyond:
        lines.append(f"and {done.findings.beyond} more faults of other objects")
    read = f", {spell_count(done.files, 'file')}, {spell_bytes(done.bytes_read)} read" if done.deep else ""
    if not done.findings and (done.unnamed_manifests or done.unnamed_packs):
        left = ((done.unnamed_manifests, "manifest"), (done.unnamed_packs, "pack"))
        unnamed = " and ".join(spell_count(number, thing) for number, thing in left if number)
        lines.append(f"nothing names {unnamed}: pushes cut short leave such, and so does a head that was deleted")
    said = f"{spell_count(len(done.findings), 'object')} with faults" if done.findings else "all is well"
    counted = ((done.datasets, "dataset"), (done.states, "state"), (done.packs, "pack"))
    what = ", ".join(spell_count(number, thing) for number, thing in counted) + read
    deeper = "" if done.deep else " (--deep reads every block and file too)"
    cost = f"{spell_count(done.requests, 'request')} for {spell_bytes(done.bytes_fetched)}"
    return [*lines, f"{said}: {what}{deeper}; {cost}"]


def _finding(finding: "Finding") -> "list[str]":
    from store.errors import printable

    lines = [f"{'missing' if finding.missing else 'damaged'} {finding.kind} {finding.key}"]
    lines += [f"    {reason}" for reason in finding.reasons]
    lines += [f"    and {finding.more_reasons} more faults"] if finding.more_reasons else []
    more = f" and {finding.more_names} more" if finding.more_names else ""
    lines += [f"    touches {' '.join(finding.names)}{more}"] if finding.names else []
    lines += [f"    file {name} {printable(path)}" for name, path in finding.files]
    lines += [f"    and {finding.more_files} more files"] if finding.more_files else []
    return [*lines, f"    to do: {finding.advice}"]
