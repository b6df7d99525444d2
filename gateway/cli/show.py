"""`aetherfs show`."""

import click

from gateway.cli.common import Command, Common, pass_common, spell_bytes, spell_count, spell_time, state_name


@click.command(cls=Command)
@click.argument("ref")
@pass_common
def show(common: Common, ref: str) -> None:
    """Show what a reference means: the state, its size, when it was published and by whom.

    Example:
      aetherfs show 'maps@^1.2'
    """
    from store.catalogue.refs import parse_reference
    from store.errors import printable

    wanted = parse_reference(ref)
    with common.repository() as repository:
        catalogue = repository.catalogue
        state = catalogue.resolve(wanted)
        named = catalogue.tags(state.dataset, max_age_s=60)
    tags = [tag.tag for tag in named if tag.content.manifest == state.manifest]
    entry = state.entry
    document = {
        "dataset": state.dataset,
        "tag": state.tag,
        "kind": state.kind.value if state.kind else None,
        "manifest": state_name(state.manifest),
        "size": state.content.size,
        "files": state.content.files,
        "tags": tags,
        "time": spell_time(entry.time_ns) if entry else None,
        "message": entry.message if entry else None,
        "by": entry.by if entry else None,
    }
    lines = [
        f"dataset   {state.dataset}",
        f"state     {state_name(state.manifest)}",
        f"tags      {' '.join(tags) or 'none'}",
        f"content   {spell_bytes(state.content.size)} in {spell_count(state.content.files, 'file')}",
    ]
    if entry is not None:
        lines.append(f"since     {spell_time(entry.time_ns)}, by {entry.by or 'nobody named'}")
        lines += [f"message   {printable(entry.message)}"] if entry.message else []
    common.result(document, lines)
