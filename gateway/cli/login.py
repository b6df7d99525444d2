"""`aetherfs login`, `logout` and `whoami`: who this user is to a gateway."""

import contextlib
import os
import secrets
import socket
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from gateway.cli.common import Command, Common, pass_common

if TYPE_CHECKING:
    from gateway.cli.logins import Saved
    from gateway.client import Server

TOKEN_LIVES: Final = "30d"  # noqa: S105  # how long a token is good that a password was exchanged for
TOKEN_RULE: Final = "read,push,tag,delete,admin:*"  # noqa: S105  # all that its owner may do


@click.command(cls=Command)
@click.option("--device", is_flag=True, help="Log in by a browser on another machine, with a code.")
@click.option("--user", metavar="NAME", help="Log in with a password, which is asked for, or read from stdin.")
@click.option("--service-account", is_flag=True, help="Log in as the client itself; needs its secret.")
@click.option("--client-id", metavar="ID", help="The client at the provider, if not the gateway's own.")
@click.option(
    "--client-secret-file", type=click.Path(path_type=Path), metavar="FILE", help="The file with that client's secret."
)
@click.option("--scopes", metavar="WORDS", help="What to ask of the provider, if not what the gateway says.")
@click.option("--keyring", is_flag=True, help="Save the login in the system's keyring.")
@click.option("--no-browser", is_flag=True, help="Print where to log in; open no browser.")
@pass_common
def login(
    common: Common,
    device: bool,
    user: str | None,
    service_account: bool,
    client_id: str | None,
    client_secret_file: Path | None,
    scopes: str | None,
    keyring: bool,
    no_browser: bool,
) -> None:
    """Log in to a gateway, by its provider or with a password, and save the login for other commands.

    With a provider, a browser is opened on this machine; its answer comes to a port on 127.0.0.1. A password is
    exchanged for a token that is good for 30 days. Saved is what is sent, never a password: in logins.json in your
    configuration folder, which nobody else can read, or in the keyring. AETHERFS_TOKEN goes before what is saved.

    Example:
      aetherfs --server https://data.example.org login
      aetherfs --server https://data.example.org login --device
      aetherfs --server https://data.example.org login --user ada
      aetherfs --server https://data.example.org login --service-account --client-id ci --client-secret-file ci.secret
    """
    from gateway.cli.logins import TOKEN, find_login, keep_login, locked
    from gateway.errors import GatewayError

    if sum((device, service_account, user is not None)) > 1:
        raise click.UsageError("--device, --user and --service-account exclude each other")
    if service_account and (client_id is None or client_secret_file is None):
        raise click.UsageError("--service-account needs --client-id and --client-secret-file")
    server = _server(common)
    with contextlib.closing(server):
        ways = server.get("login").document
        provider = ways.get("oidc")
        if user is not None or (not isinstance(provider, dict) and ways.get("basic")):
            saved = _by_password(common, server, user)
        elif isinstance(provider, dict):
            from gateway.cli.logins import OIDC, Saved
            from gateway.cli.provider_login import ProviderLogin

            begun = ProviderLogin(
                Saved(
                    OIDC,
                    "",
                    issuer=str(provider.get("issuer", "")),
                    client_id=client_id or str(provider.get("client_id", "")),
                    client_secret_file=str(client_secret_file.absolute()) if client_secret_file else "",
                    scopes=_scopes(provider, scopes, service_account=service_account),
                    audience=str(provider.get("audience") or provider.get("client_id", "")),
                )
            )
            if service_account:
                saved = begun.as_program()
            elif device:
                saved = begun.by_device(common.remark)
            else:
                saved = begun.by_browser(common.remark, (lambda url: None) if no_browser else _open)
        else:
            raise click.UsageError(f"{server.url} has no login: nothing to do")
    document = _asked_who(server.url, saved.bearer)  # before it is kept: a login that is not taken is none
    with locked():
        before = find_login(server.url)
        keep_login(server.url, saved, keyring=keyring)
    if before is not None and before.kind == TOKEN:
        with contextlib.suppress(GatewayError):  # it may have ended, or be another user's by now
            _revoke(server.url, before)
    common.result(document, f"logged in to {server.url} as {_spell(document)}")


@click.command(cls=Command)
@pass_common
def logout(common: Common) -> None:
    """Forget the saved login to a gateway, and have it revoked where that can be done.

    Example:
      aetherfs --server https://data.example.org logout
    """
    from gateway.cli.logins import find_login, forget_login, locked
    from gateway.errors import GatewayError

    server = _server(common)
    server.close()
    with locked():
        saved = find_login(server.url)
        if saved is not None:
            try:
                _revoke(server.url, saved)
            except GatewayError as error:  # what is saved is removed in any case
                common.remark(f"the login could not be revoked, and is good until it ends: {error}")
        known = forget_login(server.url)
    said = f"logged out of {server.url}" if known else f"no login to {server.url} was saved"
    common.result({"server": server.url, "logged_out": known}, said)


@click.command(cls=Command)
@pass_common
def whoami(common: Common) -> None:
    """Say as whom a gateway knows you.

    Example:
      aetherfs --server https://data.example.org whoami --json
    """
    server = common.server_client()
    if server is None:
        address = common.settings().store_address
        common.result(
            {"principal": None, "store": address},
            f"nobody: {address} is opened directly, with its own credentials; give --server to ask a gateway",
        )
        return
    with contextlib.closing(server):
        document = server.get("whoami").document
    common.result(document, _spell(document))


def _server(common: Common) -> "Server":
    """Return the gateway that was named, with no login."""
    from gateway.client import Server, parse_server

    if common.server_url is None:
        raise click.UsageError("a login is to a gateway: give --server, or set AETHERFS_SERVER")
    return Server(parse_server(common.server_url, insecure=common.insecure_server))


def _scopes(provider: dict[str, Any], scopes: str | None, *, service_account: bool) -> str:
    if scopes is not None:
        return scopes
    told = provider.get("scopes")
    words = told if isinstance(told, list) else []
    return "" if service_account else " ".join(map(str, words)) or "openid"


def _by_password(common: Common, server: "Server", user: str | None) -> "Saved":
    """Exchange a password for a token."""
    import base64

    from gateway.cli.logins import TOKEN, Saved
    from gateway.errors import LoginWanted, ServerFailed

    if user is None:
        if not sys.stdin.isatty():
            raise click.UsageError("give --user: the gateway knows users with passwords")
        user = click.prompt("User", err=True)
    if ":" in user:
        raise click.UsageError("--user: no user's name has a colon")
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    pair = base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")
    name = f"login-{_word(user)}-{_word(socket.gethostname())}-{secrets.token_hex(4)}"
    wanted = {"name": name, "kind": "http", "rules": [TOKEN_RULE], "expires": TOKEN_LIVES}
    try:
        made = server.ask("POST", "tokens", body=wanted, headers={"Authorization": f"Basic {pair}"}).document
    except LoginWanted:  # whose words are about logins; there is none yet
        raise LoginWanted(f"{server.url} does not take user and password") from None
    text = made.get("token")
    if not isinstance(text, str) or not text:
        raise ServerFailed(f"{server.url} answered without a token")
    return Saved(TOKEN, text, name=name)


def _word(text: str) -> str:
    """Return what a token's name may hold of a name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in text)[:20] or "-"


def _revoke(url: str, saved: "Saved") -> None:
    """Have a login revoked."""
    from gateway.cli.logins import OIDC, TOKEN
    from gateway.client import Server

    if saved.kind == TOKEN and saved.name:
        with contextlib.closing(Server(url, saved.bearer)) as server:
            server.ask("DELETE", "tokens", saved.name)
    elif saved.kind == OIDC:
        from gateway.cli.provider_login import ProviderLogin

        ProviderLogin(saved).revoke()


def _asked_who(url: str, bearer: str) -> dict[str, Any]:
    from gateway.client import Server

    with contextlib.closing(Server(url, bearer)) as server:
        return server.get("whoami").document


def _spell(document: dict[str, Any]) -> str:
    from store.errors import printable

    who, groups = document.get("principal"), document.get("groups")
    said = printable(str(who)) if isinstance(who, str) else "anonymous"
    if isinstance(document.get("owner"), str):
        said += f", of {printable(str(document['owner']))}"
    if isinstance(groups, list) and groups:
        said += f", in {', '.join(sorted(printable(str(group)) for group in groups))}"
    return said


def _open(url: str) -> None:
    """Open a browser for a person, if there is one that has a window of its own."""
    screen = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if screen and urlsplit(url).scheme in ("http", "https"):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(url)
