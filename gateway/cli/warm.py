"""`aetherfs warm`."""

import os
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Command, Common, pass_common, spell_bytes, spell_count, state_name
from gateway.cli.progress import Reading, shown

if TYPE_CHECKING:
    from store.care.warm import WarmCounters, Warmed


@click.command(cls=Command)
@click.argument("ref")
@click.argument("path", required=False, default="")
@pass_common
@click.pass_context
def warm(ctx: click.Context, common: Common, ref: str, path: str) -> None:
    """Fill this machine's disk cache with the state REF, or with what lies below PATH in it.

    A gateway on this machine then serves those files without asking the store for them. Exits 1 if the cache is too
    small for it.

    Example:
      aetherfs warm maps:1.0.0
      aetherfs warm maps europe/cities
    """
    from gateway.app import cache_key, disk_cache
    from gateway.exits import OTHER
    from store.care.stats import open_content
    from store.care.warm import WarmCounters, check_path
    from store.care.warm import warm as fill
    from store.catalogue.refs import parse_reference
    from store.repository import Repository

    wanted, below = parse_reference(ref), os.fsencode(path).strip(b"/")
    settings = common.settings()
    folder = disk_cache(settings)
    counters = WarmCounters()
    with common.opened() as opened, shown(lambda: _reading(counters), wanted=not common.quiet):
        repository = Repository(opened.objects, opened.root, seen=opened.seen)
        state = repository.catalogue.resolve(wanted)
        check_path(open_content(repository, state.content), below)
        done = None
        if folder is not None:
            key, limit = cache_key(settings, opened.root), settings.cache.disk
            done = fill(opened.guard, opened.root, state, below, folder, limit, counters, cache_key=key)
    document: dict[str, object] = {
        "dataset": state.dataset,
        "tag": state.tag,
        "manifest": state_name(state.manifest),
        "path": path,
        "cache": str(folder) if folder is not None else None,
    }
    if done is None:
        common.remark("no disk cache: a folder store is read where it lies, unless cache.dir names another place")
        common.result(document | {"fetched_bytes": 0, "fits": True}, f"{state_name(state.manifest)} needs no warming")
        return
    common.result(document | _document(done), _lines(done, state_name(state.manifest)))
    if not done.fits:
        ctx.exit(OTHER)


def _reading(counters: "WarmCounters") -> Reading:
    return Reading(counters.phase, counters.bytes_done, counters.bytes_total, "")


def _document(done: "Warmed") -> dict[str, object]:
    return {
        "chunks": done.chunks,
        "bytes": done.plain,
        "fetched_bytes": done.fetched,
        "pieces": done.pieces,
        "kept_pieces": done.kept,
        "needed_bytes": done.needed,
        "limit_bytes": done.limit,
        "fits": done.fits,
    }


def _lines(done: "Warmed", state: str) -> list[str]:
    lines = [
        f"{state} is warm" if done.fits else f"{state} is not warm",
        f"{spell_count(done.chunks, 'chunk')}, {spell_bytes(done.plain)}: "
        f"{spell_bytes(done.fetched)} fetched, the rest was there",
    ]
    if done.fits:
        return [*lines, f"takes at most {spell_bytes(done.needed)} of the cache's {spell_bytes(done.limit)}"]
    return [
        *lines,
        f"only {done.kept} of {done.pieces} pieces could be kept: it needs up to {spell_bytes(done.needed)}, the cache "
        f"takes {spell_bytes(done.limit)}; raise cache.disk, look at the disk's room, or warm a part",
    ]
