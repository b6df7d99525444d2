"""`aetherfs stats`."""

import contextlib
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click

from gateway.cli.common import Command, Common, columns, pass_common, spell_bytes, spell_count, state_name
from gateway.cli.progress import Reading, shown

if TYPE_CHECKING:
    from store.care.stats import DatasetStats, Holder, Sizes, StatsCounters, StoreStats
    from store.care.worst import WorstFile
    from store.repository import Repository

MEMORY: Final = 16 << 20  # bytes of chunks kept while files are looked at
COMPARED: Final = 16  # other states that the files of the newest are held against


@click.command(cls=Command)
@click.argument("name", required=False)
@pass_common
def stats(common: Common, name: str | None) -> None:
    """Show what the store holds, or one dataset by tag: logical, unique and stored bytes.

    Logical is what readers see, each state once; unique counts each chunk once; stored is that as it is stored. Alone
    is what only that state holds. For a dataset, the files that deduplicate worst are named, with a likely reason.

    Example:
      aetherfs stats
      aetherfs stats maps
    """
    from store.care.stats import StatsCounters, statistics
    from store.catalogue.refs import parse_dataset

    counters = StatsCounters()
    names = [parse_dataset(name)] if name is not None else None
    with common.repository() as repository, shown(lambda: _reading(counters), wanted=not common.quiet):
        found = statistics(repository, names, counters)
        worst = _worst(repository, found.datasets[0]) if name is not None else []
    if name is not None:
        dataset = found.datasets[0]
        document = _dataset(dataset) | {"worst": [_file(file) for file in worst]}
        common.result(document, [*_tag_lines(dataset), *_worst_lines(dataset, worst)])
    else:
        common.result(_store(found), _store_lines(found))


def _reading(counters: "StatsCounters") -> Reading:
    return Reading(counters.phase, 0, 0, f"{counters.states} of {counters.states_total} states")


def _worst(repository: "Repository", dataset: "DatasetStats") -> "list[WorstFile]":
    from store.blocks import BlockReader
    from store.care.stats import open_content
    from store.care.worst import worst_files

    states = [open_content(repository, holder.contents[0]) for holder in dataset.holders[: COMPARED + 1]]
    if not states:
        return []
    with contextlib.closing(BlockReader(repository.objects, MEMORY, id_key=repository.root.id_key)) as blocks:
        return worst_files(states[0], states[1:], blocks)


def _sizes(sizes: "Sizes") -> dict[str, object]:
    return {
        "logical": sizes.logical,
        "unique": sizes.unique,
        "stored": sizes.stored,
        "ratio": round(sizes.ratio, 3),
    }


def _holder(holder: "Holder") -> dict[str, object]:
    alone = {"alone_unique": holder.alone, "alone_stored": holder.alone_stored}
    return {**_sizes(holder.sizes), **alone, "files": holder.files}


def _dataset(dataset: "DatasetStats") -> dict[str, object]:
    states = [
        {"tags": list(holder.tags), "manifest": state_name(holder.contents[0].manifest), **_holder(holder)}
        for holder in dataset.holders
    ]
    past = dataset.past
    return {
        "dataset": dataset.name,
        **_sizes(dataset.sizes),
        "states": states,
        "past": {"states": len(past.contents), "not_counted": dataset.past_beyond, **_holder(past)} if past else None,
    }


def _file(file: "WorstFile") -> dict[str, object]:
    return {
        "path": os.fsdecode(file.path),
        "path_quoted": quote(file.path),
        "size": file.size,
        "new_unique": file.new,
        "new_stored": file.new_stored,
        "reason": file.reason,
    }


def _store(found: "StoreStats") -> dict[str, object]:
    return {
        **_sizes(found.sizes),
        "packs": found.packs,
        "packs_bytes": found.packs_bytes,
        "manifests_bytes": found.manifests_bytes,
        "datasets": [_dataset(dataset) for dataset in found.datasets],
    }


def _spelt(sizes: "Sizes") -> tuple[str, ...]:
    return spell_bytes(sizes.logical), spell_bytes(sizes.unique), spell_bytes(sizes.stored), f"{sizes.ratio:.2f}"


def _store_lines(found: "StoreStats") -> list[str]:
    rows: list[tuple[str, ...]] = [("dataset", "states", "logical", "unique", "stored", "ratio")]
    for dataset in found.datasets:
        past = len(dataset.past.contents) if dataset.past else 0
        states = f"{len(dataset.holders)}" + (f" and {past} past" if past else "")
        rows.append((dataset.name, states, *_spelt(dataset.sizes)))
    rows.append(("all", "", *_spelt(found.sizes)))
    taken = "takes" if found.packs == 1 else "take"
    packs = f"{spell_count(found.packs, 'pack')} {taken} {spell_bytes(found.packs_bytes)}"
    packs += f", manifests {spell_bytes(found.manifests_bytes)}"
    return [*columns(rows), packs]


def _tag_lines(dataset: "DatasetStats") -> list[str]:
    rows: list[tuple[str, ...]] = [("tags", "files", "logical", "unique", "stored", "ratio", "alone (stored)")]
    rows += [
        (" ".join(holder.tags), str(holder.files), *_spelt(holder.sizes), spell_bytes(holder.alone_stored))
        for holder in dataset.holders
    ]
    if dataset.past is not None:
        past = f"({len(dataset.past.contents)} past states)"
        rows.append((past, "", *_spelt(dataset.past.sizes), spell_bytes(dataset.past.alone_stored)))
    rows.append(("all", "", *_spelt(dataset.sizes), ""))
    return columns(rows)


def _worst_lines(dataset: "DatasetStats", worst: "list[WorstFile]") -> list[str]:
    from store.errors import printable

    if not worst:
        return []
    newest = f"{dataset.name}:{dataset.holders[0].tags[0]}"
    rows = [("  " + spell_bytes(file.new_stored), printable(file.path), file.reason) for file in worst]
    return [f"most new bytes in {newest}, as stored:", *columns(rows)]
