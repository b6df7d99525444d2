"""`aetherfs token`: makes, lists and revokes tokens, in a store directly or through a gateway."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.common import Command, Common, columns, keep_examples, pass_common

if TYPE_CHECKING:
    from gateway.access.tokens import Tokens

PAGE = 200  # tokens that a gateway is asked for at a time


@click.group(
    help=keep_examples(
        """Make, list and revoke tokens: passwords of programs, each good for some actions on some datasets.

        A token is the password of Basic under any user name, or goes as it is after `Authorization: Bearer`. A token
        for NFS (--nfs) is part of a mount's path instead, and reads alone.

        Example:
          aetherfs token create ci --allow read,push:maps --expires 30d
          aetherfs token ls
          aetherfs token revoke ci
        """
    )
)
def token() -> None:
    """Stand for the group; its help is above."""


@token.command(cls=Command)
@click.argument("name")
@click.option("--allow", multiple=True, required=True, metavar="RULE", help="ACTIONS:PATTERN; may be repeated.")
@click.option("--expires", metavar="TIME", help="How long it is good: 15m, 12h, 30d, 2w. Else until it is revoked.")
@click.option("--nfs", is_flag=True, help="For a mount's path, HOST:/@token/TOKEN/..., and for nothing else.")
@pass_common
def create(common: Common, name: str, allow: tuple[str, ...], expires: str | None, nfs: bool) -> None:
    """Make a token and print it. It is shown this once: only a digest of it is kept.

    RULE is what it may do: actions (read, push, tag, delete, admin), a colon, and the datasets that a pattern fits.
    Through a gateway it never may more than you who make it; with the store's own credentials there is no such bound.

    Example:
      aetherfs token create ci --allow read,push:maps --expires 30d
      aetherfs token create lab --allow 'read:@geo/*' --nfs --json
    """
    from auth.tokens import HTTP, NFS, TokenUnusable, parse_duration, parse_name, parse_rules
    from store.errors import printable

    kind = NFS if nfs else HTTP
    try:
        parse_name(name)
        grants = parse_rules(allow, kind=kind)
        lives_s = parse_duration(expires) if expires is not None else 0
    except TokenUnusable as error:
        raise click.UsageError(str(error)) from error
    server = common.server_client()
    if server is not None:
        wanted = {"name": name, "kind": kind, "rules": [str(grant) for grant in grants], "expires": expires}
        with contextlib.closing(server):
            made = server.ask("POST", "tokens", body=wanted).document
    else:
        from gateway.access.token_words import described

        with _tokens(common) as tokens:
            text, record = tokens.create(name, grants, nfs=nfs, lives_s=lives_s)
        made = described(record, now_ns=record.created_ns) | {"token": str(text)}
    common.result(made, printable(str(made.get("token", ""))))
    common.remark("this is shown once; `aetherfs token revoke` makes it worthless")


@token.command(cls=Command)
@click.option("--all", "ended", is_flag=True, help="Show those too that are revoked or have expired.")
@pass_common
def ls(common: Common, ended: bool) -> None:
    """List tokens with what they may do, and when they were last used, to some ten minutes.

    Example:
      aetherfs token ls
      aetherfs token ls --all --json
    """
    found = sorted(
        (one for one in _listed(common) if ended or one.get("state") == "good"), key=lambda one: str(one.get("name"))
    )
    heads = ("NAME", "KIND", "RULES", "OWNER", "STATE", "CREATED", "EXPIRES", "LAST USED")
    keys = ("name", "kind", "rules", "owner", "state", "created", "expires", "last_used")
    rows = [tuple(_cell(one.get(key)) for key in keys) for one in found]
    common.result({"tokens": found}, columns([heads, *rows]) if rows else [])


@token.command(cls=Command)
@click.argument("name")
@pass_common
def revoke(common: Common, name: str) -> None:
    """Make a token worthless. Every gateway refuses it within half a minute; its name may be given anew.

    Example:
      aetherfs token revoke ci
    """
    server = common.server_client()
    if server is not None:
        with contextlib.closing(server):
            server.ask("DELETE", "tokens", name)
    else:
        with _tokens(common) as tokens:
            tokens.revoke(name)
    common.result({"name": name, "revoked": True}, f"token {name} is revoked")


@contextlib.contextmanager
def _tokens(common: Common) -> "Iterator[Tokens]":
    from gateway.access.tokens import Tokens

    with common.opened() as opened:
        yield Tokens(opened.objects)


def _listed(common: Common) -> list[dict[str, Any]]:
    server = common.server_client()
    if server is None:
        from gateway.access.token_words import described

        with _tokens(common) as tokens:
            now_ns = tokens.now_ns()
            return [described(known.record, now_ns=now_ns, used_ns=known.used_ns) for _, known in tokens.list()]
    with contextlib.closing(server):
        return list(server.pages("tokens", "tokens", size=PAGE))


def _cell(value: object) -> str:
    from store.errors import printable

    if isinstance(value, list):
        return " ".join(_cell(item) for item in value)
    return "-" if value is None else printable(str(value))
