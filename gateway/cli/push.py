"""`aetherfs push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.common import (
    Command,
    Common,
    LocalPath,
    pass_common,
    publisher,
    spell_bytes,
    spell_count,
    state_name,
)
from gateway.cli.progress import Reading, shown
from gateway.cli.tag import digits, split_tag

if TYPE_CHECKING:
    from store.errors import TagExists
    from store.push.push import PushCounters, Pushed
    from store.repository import Repository

EXAMPLES: Final = 3  # paths that are named where only times differ


@click.command(cls=Command)
@click.argument("source", metavar="DIR", type=LocalPath())
@click.option("-t", "--tag", "names", multiple=True, required=True, metavar="NAME:TAG", help="May be repeated.")
@click.option("-m", "--message", default="", help="For the dataset's history.")
@click.option("--expect", "expected", multiple=True, metavar="CHANNEL=ID", help="Only if it names this state now.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches, by name or by path below DIR.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing; say what it would do and cost.")
@click.option("--price-storage-gb-month", type=click.FloatRange(0), metavar="USD", help="For --dry-run's estimate.")
@click.option("--price-put-1000", type=click.FloatRange(0), metavar="USD", help="For --dry-run's estimate.")
@click.option("--reread", is_flag=True, help="Read files too that look unchanged since the last push.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out what cannot be read or kept, instead of refusing.")
@click.option("--single-writer", is_flag=True, help="Take a store that ignores conditions: nobody else writes.")
@pass_common
def push(
    common: Common,
    source: Path,
    names: tuple[str, ...],
    message: str,
    expected: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    price_storage_gb_month: float | None,
    price_put_1000: float | None,
    reread: bool,
    skip_unreadable: bool,
    single_writer: bool,
) -> None:
    """Publish the folder DIR (or one file) under all tags at once.

    Only what the store does not hold already is uploaded. A version never moves; a channel does.

    Example:
      aetherfs push ./data -t maps:1.0.0 -t maps:latest -m 'first survey'
      aetherfs push ./data -t maps:1.1.0 --dry-run
    """
    from gateway.config import state_dir
    from gateway.overlap import refuse_source
    from store.errors import TagExists
    from store.push.push import PushCounters, PushOptions
    from store.push.push import push as publish

    tags = [split_tag(name) for name in dict.fromkeys(names)]
    dataset = tags[0][0]
    if any(other != dataset for other, _ in tags):
        raise click.UsageError("all tags of one push are of one dataset")
    options = PushOptions(
        message=message,
        by=publisher(),
        expect=_expectations(expected, [tag for _, tag in tags]),
        exclude=exclude,
        reread=reread,
        skip_unreadable=skip_unreadable,
        dry_run=dry_run,
    )
    counters = PushCounters()
    refuse_source(source, exclude, common.settings())
    with common.repository(single_writer=single_writer) as repository:
        try:
            with shown(lambda: _reading(counters), wanted=not common.quiet):
                done = publish(repository, source, dataset, [tag for _, tag in tags], state_dir(), options, counters)
        except TagExists as conflict:
            _explain(common, repository, conflict)
            raise
    _remarks(common, done)
    document, lines = _document(done, dry_run=dry_run), _lines(done, dry_run=dry_run)
    if done.plan is not None:
        from gateway.cli.dry_run import prices, written

        more, said = written(done.dataset, done.plan, prices(price_storage_gb_month, price_put_1000))
        document, lines = (
            document | more,
            [*lines[:1], f"{spell_count(done.files, 'file')}, {spell_bytes(done.size)}", *said],
        )
    common.result(document, lines)


def _explain(common: Common, repository: "Repository", conflict: "TagExists") -> None:
    """Say where nothing but times sets a version apart from what was to be published: that is easily missed."""
    from store.care.diff import differences
    from store.errors import StoreError, printable

    try:
        has, wanted = (repository.read_manifest(bytes.fromhex(id)) for id in (conflict.has, conflict.wanted))
        paths: list[str] = []
        for difference in differences(has, wanted):
            if difference.what != "touched":
                return
            if len(paths) < EXAMPLES:
                paths.append(printable(difference.path) or ".")
    except StoreError:
        return  # what cannot be read cannot be explained; the conflict stands
    common.remark(
        f"nothing but times differs (of {', '.join(paths)} first), and times are part of a version: publish from a "
        "copy that keeps them (cp -p, rsync -t), or under a new version"
    )


def _expectations(given: tuple[str, ...], tags: list[str]) -> dict[str, str]:
    expected: dict[str, str] = {}
    for text in given:
        channel, equals, state = text.partition("=")
        if not equals or channel not in tags:
            raise click.UsageError(f"--expect {text}: write CHANNEL=ID, for a tag that is given with -t")
        expected[channel] = digits(state)
    return expected


def _reading(counters: "PushCounters") -> Reading:
    if counters.phase == "walking":
        found = f"{spell_count(counters.files_total, 'file')}, {spell_bytes(counters.bytes_total)} so far"
        return Reading(counters.phase, 0, 0, found)
    new, reused = spell_bytes(counters.bytes_new), spell_bytes(counters.bytes_reused)
    detail = f"new {new}, reused {reused}, uploaded {spell_bytes(counters.bytes_uploaded)}"
    return Reading(counters.phase, counters.bytes_read, counters.bytes_total, detail)


def _remarks(common: Common, done: "Pushed") -> None:
    from store.errors import printable

    if done.hard_links:
        common.remark(f"{done.hard_links} hard links are kept as files of their own that share their blocks")
    for path, why in done.skipped:
        common.remark(f"left out: {printable(path)}: {why}")


def _document(done: "Pushed", *, dry_run: bool) -> dict[str, object]:
    from store.errors import printable

    return {
        "dataset": done.dataset,
        "tags": list(done.tags),
        "manifest": state_name(done.manifest),
        "changed": done.changed and not dry_run,
        "dry_run": dry_run,
        "entries": done.entries,
        "files": done.files,
        "bytes": done.size,
        "new_bytes": done.bytes_new,
        "reused_bytes": done.bytes_reused,
        "stored_bytes": done.bytes_stored,
        "puts": done.puts,
        "skipped": [{"path": printable(path), "why": why} for path, why in done.skipped],
    }


def _lines(done: "Pushed", *, dry_run: bool) -> list[str]:
    names = " ".join(f"{done.dataset}:{tag}" for tag in done.tags)
    verb = "is" if len(done.tags) == 1 else "are"
    said = "would be" if dry_run else f"{verb} now" if done.changed else f"{verb} already"
    return [
        f"{names} {said} {state_name(done.manifest)}",
        f"{spell_count(done.files, 'file')}, {spell_bytes(done.size)}: {spell_bytes(done.bytes_new)} new, "
        f"{spell_bytes(done.bytes_reused)} reused, {spell_bytes(done.bytes_stored)} stored, "
        f"{spell_count(done.puts, 'PUT')}",
    ]
