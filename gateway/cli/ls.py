"""`aetherfs ls`: datasets, tags, or the files of one state."""

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from gateway.cli.common import Command, Common, columns, pass_common, spell_bytes, spell_count, spell_time, state_name

if TYPE_CHECKING:
    from store.catalogue.catalogue import Catalogue
    from store.manifest.view import Manifest, Record
    from store.repository import Repository


@click.command(cls=Command)
@click.argument("place", metavar="[NAME[:TAG[/PATH]]]", default="")
@pass_common
def ls(common: Common, place: str) -> None:
    """List datasets; of a dataset NAME its tags; of a state, or of a folder in it, the entries.

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
    names = sorted(catalogue.datasets())
    common.result({"datasets": [{"name": name} for name in names]}, names)


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
    from store.errors import printable
    from store.kinds import Kind

    state = repository.catalogue.resolve(reference)
    manifest = repository.manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root))
    number, record, name = _find(manifest, path)
    if record.kind is Kind.FOLDER:
        found = list(manifest.entries(number, record, 0, record.size))
    else:
        found = [(number, name, record)]
    entries = [_entry(manifest, name, record) for _, name, record in found]
    document = {
        "dataset": state.dataset,
        "tag": state.tag,
        "manifest": state_name(state.manifest),
        "path": os.fsdecode(path),
        "entries": entries,
    }
    rows = []
    for _, name, record in found:
        size = spell_count(record.size, "entry") if record.kind is Kind.FOLDER else spell_bytes(record.size)
        shown = printable(name)
        if record.kind is Kind.LINK:
            size, shown = "-", f"{shown} -> {printable(manifest.link(record))}"
        mark = {Kind.FOLDER: "d", Kind.LINK: "l", Kind.FILE: "x" if record.executable else "-"}[record.kind]
        rows.append((mark, size, spell_time(record.mtime_ns), shown))
    common.result(document, columns(rows))


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
