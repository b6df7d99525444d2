"""`aetherfs tag`, `untag` and `rollback`: what changes the names of states, and nothing else."""

import click

from gateway.cli.common import Command, Common, pass_common, publisher, state_name


@click.command(cls=Command)
@click.argument("ref")
@click.argument("name", metavar="NAME:TAG")
@click.option("--expect", metavar="ID", help="Only if the channel names this state now; '' if it must not exist yet.")
@click.option("-m", "--message", default="", help="For the dataset's history.")
@pass_common
def tag(common: Common, ref: str, name: str, expect: str | None, message: str) -> None:
    """Name the state REF by one more tag, or move a channel to it.

    Example:
      aetherfs tag maps:1.0.0 maps:stable
    """
    from store.catalogue.refs import parse_reference
    from store.push.reliance import standing

    dataset, tag_name = split_tag(name)
    wanted = parse_reference(ref)
    if wanted.dataset != dataset:
        raise click.UsageError(f"{ref} and {name} are of two datasets; states are tagged in their own")
    with common.repository() as repository:
        catalogue = repository.catalogue
        state = catalogue.resolve(wanted)
        expected = None if expect is None else {tag_name: digits(expect)}
        with standing(repository, dataset) as guard:
            change = catalogue.set_tags(
                dataset, [tag_name], state.content,
                message=message, by=publisher(), op="tag", expect=expected, guard=guard,
            )  # fmt: skip
    document = {
        "dataset": dataset,
        "tag": tag_name,
        "manifest": state_name(state.manifest),
        "changed": bool(change.changed),
    }
    common.result(document, f"{name} is {state_name(state.manifest)}{'' if change.changed else ', as it was'}")


@click.command(cls=Command)
@click.argument("name", metavar="NAME:TAG")
@click.option("--expect", metavar="ID", help="Only if the tag names this state now.")
@click.option("-m", "--message", default="", help="For the dataset's history.")
@pass_common
def untag(common: Common, name: str, expect: str | None, message: str) -> None:
    """Remove a tag. A version's name may come back for the same state only.

    Example:
      aetherfs untag maps:qa
    """
    dataset, tag_name = split_tag(name)
    with common.repository() as repository:
        repository.catalogue.untag(
            dataset, tag_name, message=message, by=publisher(), expect=None if expect is None else digits(expect)
        )
    common.result({"dataset": dataset, "tag": tag_name, "removed": True}, f"{name} is removed")


@click.command(cls=Command)
@click.argument("name", metavar="NAME:CHANNEL")
@click.option("--expect", metavar="ID", help="Only if the channel names this state now.")
@click.option("-m", "--message", default="", help="For the dataset's history.")
@pass_common
def rollback(common: Common, name: str, expect: str | None, message: str) -> None:
    """Move a channel to its previous state; repeated, further back.

    Example:
      aetherfs rollback maps:latest
    """
    from store.push.reliance import standing

    dataset, channel = split_tag(name)
    with common.repository() as repository:
        catalogue = repository.catalogue
        with standing(repository, dataset) as guard:
            catalogue.rollback(
                dataset, channel,
                message=message, by=publisher(), expect=None if expect is None else digits(expect), guard=guard,
            )  # fmt: skip
        manifest = state_name(catalogue.resolve(name).manifest)
    common.result({"dataset": dataset, "tag": channel, "manifest": manifest}, f"{name} is {manifest} again")


def split_tag(name: str) -> tuple[str, str]:
    """Read `NAME:TAG`, both parts given.

    Raises:
        BadName: it is not that.
    """
    from store.catalogue.refs import parse_dataset, parse_tag
    from store.errors import BadName

    dataset, colon, tag_name = name.partition(":")
    if not colon:
        raise BadName(name, "write NAME:TAG, for example maps:1.0.0 or maps:latest")
    return parse_dataset(dataset), parse_tag(tag_name)


def digits(state: str) -> str:
    """Read a state's id, with or without its `b3-`, whole or from 12 digits on; empty where no state is expected.

    Raises:
        BadName: it is not that.
    """
    from store.catalogue.refs import is_state
    from store.errors import BadName

    found = state.removeprefix("b3-")
    if found and not is_state(found):
        raise BadName(state, "a state is named by 12 to 64 lower-case hex digits of its id, with or without b3-")
    return found
