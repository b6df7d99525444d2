"""`aetherfs user`: looks after the file of users that a gateway lets in by passwords (auth.basic.htpasswd).

A password comes from standard input, or is asked for twice at a terminal; never from the command line, which every
user of the machine can read.
"""

import sys
from pathlib import Path

import click

from gateway.cli.common import Command, Common, LocalPath, columns, keep_examples, pass_common

WEAK = 8  # characters; shorter passwords are taken, with a remark
_FILE = click.option("--file", type=LocalPath(), metavar="FILE", help="The file; else auth.basic.htpasswd names it.")
_BCRYPT = click.option("--bcrypt", "by_bcrypt", is_flag=True, help="Hash by bcrypt, for other programs; else argon2id.")


@click.group(
    help=keep_examples(
        """Look after the users that a gateway lets in by passwords. A running gateway reads the file again by itself.

        Example:
          aetherfs user add ada --file /etc/aetherfs/users
          printf %s "$PASSWORD" | aetherfs user passwd ada
        """
    )
)
def user() -> None:
    """Stand for the group; its help is above."""


@user.command(cls=Command)
@click.argument("name")
@_FILE
@_BCRYPT
@pass_common
def add(common: Common, name: str, file: Path | None, by_bcrypt: bool) -> None:
    """Add a user. The password is read from standard input, or asked for; the file is made if there is none.

    Example:
      aetherfs user add ada --file /etc/aetherfs/users
    """
    from gateway.access.users import add_user, read_users
    from gateway.errors import UserTaken

    path = _path(common, file)
    _check_name(name)
    if path.exists() and read_users(path).get(name) is not None:
        raise UserTaken(name)
    add_user(path, name, _hash(common, by_bcrypt))
    common.result({"file": str(path), "name": name, "added": True}, f"user {name} is added")


@user.command(cls=Command)
@click.argument("name")
@_FILE
@_BCRYPT
@pass_common
def passwd(common: Common, name: str, file: Path | None, by_bcrypt: bool) -> None:
    """Give a user another password, read from standard input or asked for; the old one goes within seconds.

    Example:
      printf %s "$PASSWORD" | aetherfs user passwd ada
    """
    from gateway.access.users import change_user

    path = _path(common, file)
    _having(path, name)
    change_user(path, name, _hash(common, by_bcrypt))
    common.result({"file": str(path), "name": name, "changed": True}, f"user {name} has another password")


@user.command(cls=Command)
@click.argument("name")
@_FILE
@click.option("--tokens", is_flag=True, help="Revoke the tokens that they made, too, in the store that --store names.")
@pass_common
def rm(common: Common, name: str, file: Path | None, tokens: bool) -> None:
    """Remove a user. Tokens that they made stay good without --tokens, since they lie in the store.

    Example:
      aetherfs user rm ada
      aetherfs user rm ada --tokens --store s3://bucket/prefix
    """
    from gateway.access.users import remove_user

    path = _path(common, file)
    _having(path, name)
    revoked = _revoke_all(common, name) if tokens else []
    remove_user(path, name)
    revoked += _revoke_all(common, name) if tokens else []  # that they made meanwhile
    said = f"; tokens revoked: {len(revoked)}" if tokens else ""
    common.result(
        {"file": str(path), "name": name, "removed": True, "tokens_revoked": sorted(revoked)},
        f"user {name} is removed{said}",
    )
    if not tokens:
        common.remark("tokens that they made stay good: `aetherfs token ls` shows whose they are")


@user.command(cls=Command)
@_FILE
@pass_common
def ls(common: Common, file: Path | None) -> None:
    """List users, and how their passwords are hashed.

    Example:
      aetherfs user ls --json
    """
    from auth.hashes import check_hash
    from gateway.access.users import read_users

    path = _path(common, file)
    users = read_users(path)
    rows = [(name, check_hash(users.get(name) or "")) for name in sorted(users.names)]
    found = [{"name": name, "hash": kind} for name, kind in rows]
    common.result({"file": str(path), "users": found}, columns([("NAME", "HASH"), *rows]) if rows else [])


def _revoke_all(common: Common, user: str) -> list[str]:
    """Revoke a user's tokens; return their names."""
    from gateway.access.tokens import Tokens

    with common.opened() as opened:
        tokens = Tokens(opened.objects)
        now_ns = tokens.now_ns()
        theirs = [
            known.record
            for _, known in tokens.list()
            if known.record.owner is not None and known.record.owner.name == user and not known.record.ended(now_ns)
        ]
        for record in theirs:
            tokens.revoke(record.name, only=record.id)
    return [record.name for record in theirs]


def _path(common: Common, file: Path | None) -> Path:
    """Return the file of users."""
    if file is not None:
        return file
    named = common.settings().auth_basic.htpasswd
    if not named:
        raise click.UsageError(
            "no file of users: give --file FILE, or set auth.basic.htpasswd (docs/operations.md, Users)"
        )
    return Path(named)


def _check_name(name: str) -> None:
    from auth.htpasswd import check_name

    try:
        check_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _having(path: Path, name: str) -> None:
    """See that there is such a user before anybody is asked for a password."""
    from gateway.access.users import read_users
    from gateway.errors import UserMissing

    if not path.exists() or read_users(path).get(name) is None:
        raise UserMissing(name, str(path))


def _hash(common: Common, by_bcrypt: bool) -> str:
    from auth.hashes import new_hash

    password = _password()
    try:
        made = new_hash(password, by_bcrypt=by_bcrypt)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if len(password.decode()) < WEAK:
        common.remark(f"a password of fewer than {WEAK} characters is quickly guessed")
    return made


def _password() -> bytes:
    """Return the password: one line of standard input, or what is typed twice."""
    from auth.hashes import LONGEST

    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked.encode("utf-8", "surrogateescape")
    given = sys.stdin.buffer.read(LONGEST + 3)
    return given.removesuffix(b"\n").removesuffix(b"\r")
