"""`aetherfs ls`: datasets, tags, or the files of one state."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from gateway.cli.common import Command, Common, columns, pass_common, spell_bytes, spell_count, spell_time, state_name
from gateway.cli.streaming import stream

if TYPE_CHECKING:
    from store.catalogue.catalogue import Catalogue
    from store.manifest.view import Manifest, Record
    from store.repository import Repository

    Found = tuple[int, bytes, Record]  # number, name, record


@click.command(cls=Command)
@click.argument("place", metavar="[NAME[:TAG[/PATH]]]", default="")
@pass_common
def ls(common: Common, place: str) -> None:
    """List datasets; of a dataset NAME its tags; of a state, or of a folder in it, the entries.

    More than a thousand datasets are printed as they come, in no order.

    Example:
      aetherfs ls
      aetherfs ls maps
      aetherfs ls maps:1.0.0/europe
    """
    from store.catalogue.refs import Named, split_location

    reference, path = split_location(place) if place else (None, "")
    with common.repository() as repository:
        if reference is None:
            _datasets(common, repository.catalogue)
        elif isinstance(reference.select, Named) and place == reference.dataset:
            _tags(common, repository.catalogue, reference.dataset)
        else:
            _entries(common, repository, str(reference), os.fsencode(path))


def _datasets(common: Common, catalogue: "Catalogue") -> None:
    stream(
        common,
        {},
        "datasets",
        catalogue.datasets(),
        spell=lambda name: {"name": name},
        lines=lambda names: names,
        order=lambda name: name,
    )


def _tags(common: Common, catalogue: "Catalogue", dataset: str) -> None:
    tags = catalogue.tags(dataset)
    document = {
        "dataset": dataset,
        "tags": [
            {
                "tag": tag.tag,
                "kind": tag.kind.value,
                "manifest": state_name(tag.content.manifest),
                "size": tag.content.size,
                "files": tag.content.files,
                "time": spell_time(tag.moved_ns),
            }
            for tag in tags
        ],
    }
    rows = [
        (
            tag.tag,
            tag.kind.value,
            state_name(tag.content.manifest)[:15],
            spell_bytes(tag.content.size),
            spell_count(tag.content.files, "file"),
            spell_time(tag.moved_ns),
        )
        for tag in tags
    ]
    common.result(document, columns(rows))


def _entries(common: Common, repository: "Repository", reference: str, path: bytes) -> None:
    from store.kinds import Kind

    state = repository.catalogue.resolve(reference)
    manifest = repository.manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root)).near()
    number, record, name = _find(manifest, path)
    found: Iterable[Found] = [(number, name, record)]
    if record.kind is Kind.FOLDER:
        found = manifest.entries(number, record, 0, record.size)
    document = {
        "dataset": state.dataset,
        "tag": state.tag,
        "manifest": state_name(state.manifest),
        "path": os.fsdecode(path),
    }
    stream(
        common,
        document,
        "entries",
        found,
        spell=lambda found: _entry(manifest, found[1], found[2]),
        lines=lambda batch: columns([_row(manifest, name, record) for _, name, record in batch]),
    )


def _row(manifest: "Manifest", name: bytes, record: "Record") -> tuple[str, ...]:
    from store.errors import printable
    from store.kinds import Kind

    size = spell_count(record.size, "entry") if record.kind is Kind.FOLDER else spell_bytes(record.size)
    shown = printable(name)
    if record.kind is Kind.LINK:
        size, shown = "-", f"{shown} -> {printable(manifest.link(record))}"
    mark = {Kind.FOLDER: "d", Kind.LINK: "l", Kind.FILE: "x" if record.executable else "-"}[record.kind]
    return mark, size, spell_time(record.mtime_ns), shown


def _find(manifest: "Manifest", path: bytes) -> "tuple[int, Record, bytes]":
    """Walk down a path; empty parts and a slash at the end mean nothing."""
    from store.errors import NotAFolder, PathMissing
    from store.kinds import Kind

    number, record, last = 0, manifest.record(0), b""
    for name in filter(None, path.split(b"/")):
        if record.kind is not Kind.FOLDER:
            raise NotAFolder(last)
        found = manifest.find(number, record, name)
        if found is None:
            raise PathMissing(path)
        (number, record), last = found, name
    return number, record, last


def _entry(manifest: "Manifest", name: bytes, record: "Record") -> dict[str, object]:
    from store.kinds import Kind

    entry: dict[str, object] = {
        "name": os.fsdecode(name),
        "name_quoted": quote(name),  # the exact bytes, as in a URL: JSON holds text alone
        "kind": record.kind.name.lower(),
        "size": record.size,
        "mtime_ns": record.mtime_ns,
    }
    if record.kind is Kind.FILE:
        entry |= {
            "executable": record.executable,
            "sha256": manifest.sha256(record.first).hex(),
            "md5": manifest.md5(record.first).hex(),
        }
    if record.kind is Kind.LINK:
        target = manifest.link(record)
        entry |= {"target": os.fsdecode(target), "target_quoted": quote(target)}
    return entry
