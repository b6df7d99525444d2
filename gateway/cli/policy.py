"""`aetherfs policy`: looks after what principals may do, in the store, by way of a gateway, or in a file."""

import contextlib
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gateway.cli import policy_places as places
from gateway.cli.common import (
    Command,
    Common,
    keep_examples,
    pass_common,
    spell_count,
)
from gateway.config import ConfigError
from gateway.exits import REFUSED
from store.errors import printable

if TYPE_CHECKING:
    from auth.policy import Policy
    from auth.principal import Principal

ACTIONS = ("read", "push", "tag", "delete", "admin")
_DIGEST = re.compile(r"[0-9a-fA-F]{12,64}")


class Found(NamedTuple):
    """A policy, and where it was found."""

    source: str
    policy: "Policy"
    file: Path | None = None  # that it was read from


@click.group(
    help=keep_examples(
        """Look after the policy: who may do what on which datasets.

        It lies in the store (auth.policy = "store") or in a file (auth.policy = PATH). get and set are about the one in
        the store, which a gateway reaches for you with --server; check and explain take the one of --file, else that of
        auth.policy, else that of the store.

        Example:
          aetherfs policy check policy.toml
          aetherfs policy set policy.toml
          aetherfs policy explain ada read maps
        """
    )
)
def policy() -> None:
    """Stand for the group; its help is above."""


@policy.command(cls=Command)
@pass_common
def get(common: Common) -> None:
    """Write the store's policy as it was set. --json tells its digest too, for --expect.

    Example:
      aetherfs policy get > policy.toml
    """
    held = places.read(common)
    if common.json:
        common.result(_document(held) | {"text": held.text}, [])
    else:
        sys.stdout.buffer.write(held.text.encode())
        sys.stdout.buffer.flush()
    common.remark(f"digest {held.digest}, changed {held.changed}" + (f" by {printable(held.by)}" if held.by else ""))


@policy.command("set", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--expect", metavar="DIGEST", help="Only if the policy has this digest now; '' if there must be none yet."
)
@pass_common
def set_policy(common: Common, file: Path, expect: str | None) -> None:
    """Make FILE the store's policy; - is standard input. What does not parse is refused, and the old one stays.

    On gateways with auth.policy = "store" it acts within twenty seconds.

    Example:
      aetherfs policy set policy.toml
      aetherfs policy set policy.toml --expect "$(aetherfs policy get --json -q | jq -r .digest)"
    """
    from auth.policy import policy_text, warnings
    from gateway.access.policies import parsed

    if expect and not _DIGEST.fullmatch(expect):
        raise click.UsageError(f"--expect {expect}: a digest is 64 hex digits, of which 12 or more are given")
    data = _read(file)
    new = parsed(str(file), data)
    for warning in warnings(new):
        common.remark(warning)
    held = places.write(common, policy_text(data), expect)
    rules = len(new.rules)
    common.result(_document(held) | {"rules": rules}, f"{spell_count(rules, 'rule')}, digest {held.digest}")


@policy.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@pass_common
def check(common: Common, file: Path | None) -> None:
    """Read a policy as a gateway would, say how many rules it has, and warn of rules that can have no effect.

    It also warns of a file that others can change, which no gateway takes.

    Example:
      aetherfs policy check policy.toml
    """
    from auth.policy import warnings

    found = _found(common, file)
    said = [*_open_to_others(found.file), *warnings(found.policy)]
    rules = len(found.policy.rules)
    for warning in said:
        common.remark(f"{found.source}, {warning}")
    common.result(
        {"source": found.source, "ok": True, "rules": rules, "digest": found.policy.digest, "warnings": said},
        f"{found.source}: {spell_count(rules, 'rule')}, {spell_count(len(said), 'warning')}",
    )


@policy.command(cls=Command)
@click.argument("who", metavar="USER")
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument("dataset")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group that the user is in; may be repeated.")
@click.option(
    "--file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", help="A file with the policy."
)
@pass_common
def explain(common: Common, who: str, action: str, dataset: str, groups: tuple[str, ...], file: Path | None) -> int:
    """Say whether USER may do ACTION to DATASET, and which rule decides it: exit 0 if so, 4 if not.

    USER is a name or user:NAME, token:NAME (a token of the store, with --store), or anonymous. ACTION is read, push,
    tag, delete or admin. DATASET * with admin stands for what belongs to no dataset: the policy, and the tokens of
    others. Users are not looked up: anybody who logged in by that name is meant.

    Example:
      aetherfs policy explain ada read maps --group staff
      aetherfs policy explain anonymous read @geo/roads --file policy.toml
    """
    from auth.patterns import EVERYTHING
    from auth.principal import Action
    from store.catalogue.refs import parse_dataset

    if dataset != EVERYTHING:
        dataset = parse_dataset(dataset)
    principal, ended = _principal(common, who, groups)
    found = _found(common, file)
    decided = found.policy.decide(principal, Action(action), dataset)
    allowed, why = decided.allowed and not ended, ended or decided.why
    rule = None if ended or decided.rule is None else {
        "number": decided.rule.number, "line": decided.rule.line, "text": str(decided.rule),
    }  # fmt: skip
    common.result(
        {
            "principal": str(principal), "action": action, "dataset": dataset, "allowed": allowed, "why": why,
            "rule": rule, "source": found.source,
        },
        f"{'allowed' if allowed else 'refused'}: {why}",
    )  # fmt: skip
    return 0 if allowed else REFUSED


def _principal(common: Common, who: str, groups: tuple[str, ...]) -> "tuple[Principal, str]":
    """Return who is meant, and for a token that is good no longer, why."""
    from auth.htpasswd import check_name
    from auth.principal import ANONYMOUS, Kind, user

    kind, colon, name = who.partition(":")
    if groups and (who == str(ANONYMOUS) or kind == Kind.TOKEN):
        raise click.UsageError("--group: only users are in groups")
    if who == str(ANONYMOUS):
        return ANONYMOUS, ""
    if colon and kind == Kind.TOKEN:
        return _token(common, name)
    if colon and kind != Kind.USER:
        raise click.UsageError(f"{who}: write a user's name, user:NAME, token:NAME or anonymous")
    name = name if colon else who
    try:
        check_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return user(name, frozenset(groups)), ""


def _token(common: Common, name: str) -> "tuple[Principal, str]":
    from auth.tokens import principal_of
    from gateway.access.tokens import Tokens

    with common.opened() as opened, contextlib.closing(Tokens(opened.objects)) as tokens:
        record = tokens.find(name).record
        ended = record.ended(tokens.now_ns())
    return principal_of(record), f"token:{name} is {ended}" if ended else ""


def _found(common: Common, file: Path | None) -> Found:
    """Return the policy of the file, else that of the settings, else that of the store."""
    from gateway.access.policies import IN_BUCKET, STORE, parsed

    if file is None and common.server_url is None:
        named = common.settings().auth.policy
        file = Path(named) if named and named != STORE else None
    if file is not None:
        return Found(str(file), parsed(str(file), _read(file)), file)
    return Found(IN_BUCKET, parsed(IN_BUCKET, places.read(common).text.encode()))


def _open_to_others(file: Path | None) -> list[str]:
    """Warn of a file that a gateway refuses, since others than its owner can write it."""
    if file is None or str(file) == "-" or not file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return []
    return [f"as a file (auth.policy) gateways refuse it: others can change it; run `chmod go-w {file}`"]


def _read(file: Path) -> bytes:
    """Return a file's bytes, no more than tell that it is too large.

    Raises:
        ConfigError: it cannot be read.
    """
    from auth.policy import LARGEST

    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(LARGEST + 1)
        with file.open("rb") as opened:
            return opened.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def _document(held: places.Held) -> dict[str, Any]:
    return {"digest": held.digest, "changed": held.changed, "by": held.by}
