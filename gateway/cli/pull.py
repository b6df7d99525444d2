"""`aetherfs pull`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Command, Common, LocalPath, pass_common, spell_bytes, spell_count, state_name
from gateway.cli.progress import Reading, shown

if TYPE_CHECKING:
    from store.pull.pull import PullCounters


@click.command(cls=Command)
@click.argument("ref")
@click.argument("dest", type=LocalPath())
@click.option("--include", multiple=True, metavar="GLOB", help="Only what matches, by name or by path.")
@click.option("--verify", is_flag=True, help="Read everything again before it is shown, and what lies there too.")
@click.option("--force", is_flag=True, help="Overwrite files that no pull put there, or that were changed since.")
@pass_common
def pull(common: Common, ref: str, dest: Path, include: tuple[str, ...], verify: bool, force: bool) -> None:
    """Make the folder DEST equal to the state REF.

    What lies there is used again, only the rest is fetched; a pull that was interrupted goes on where it was. The new
    state is shown at once, whole.

    Example:
      aetherfs pull maps:1.0.0 ./maps
      aetherfs pull maps ./maps --include 'europe/*'
    """
    from gateway.config import state_dir
    from gateway.overlap import refuse_dest
    from store.catalogue.refs import parse_reference
    from store.pull.pull import PullCounters, PullOptions
    from store.pull.pull import pull as fetch

    wanted = parse_reference(ref)
    options = PullOptions(include=include, verify=verify, force=force)
    counters = PullCounters()
    refuse_dest(dest, common.settings())
    with (
        common.repository() as repository,
        shown(lambda: _reading(counters), wanted=not common.quiet),
    ):
        state = repository.catalogue.resolve(wanted)
        done = fetch(repository, state, dest, state_dir(), options, counters)
    if not done.exchanged:
        common.remark(f"this system cannot exchange two folders: for a moment there was nothing at {dest}")
    document = {
        "dataset": done.dataset,
        "manifest": state_name(done.manifest),
        "changed": done.changed,
        "files": done.files,
        "bytes": done.size,
        "reused_bytes": done.bytes_reused,
        "fetched_bytes": done.bytes_fetched,
        "requests": done.requests,
        "atomic": done.exchanged,
    }
    said = "is now" if done.changed else "is already"
    common.result(
        document,
        [
            f"{dest} {said} {state_name(done.manifest)}",
            f"{spell_count(done.files, 'file')}, {spell_bytes(done.size)}: {spell_bytes(done.bytes_reused)} reused, "
            f"{spell_bytes(done.bytes_fetched)} fetched in {spell_count(done.requests, 'request')}",
        ],
    )


def _reading(counters: "PullCounters") -> Reading:
    detail = f"reused {spell_bytes(counters.bytes_reused)}, fetched {spell_bytes(counters.bytes_fetched)}"
    return Reading(counters.phase, counters.bytes_done, counters.bytes_total, detail)
