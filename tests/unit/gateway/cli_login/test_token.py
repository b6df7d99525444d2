"""`aetherfs token`, on a store and through a gateway's REST interface on a real socket."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.errors import BadCredentials
from auth.policy import parse_policy
from auth.principal import Principal, user
from dav.reply import Buffer, Environ, StartResponse
from gateway.access.environ import PRINCIPAL
from gateway.access.tokens import Tokens
from gateway.config import load
from gateway.web.api.app import ApiApp
from store.objects.local import FolderStore
from store.repository import Repository
from tests.interop.http.serving import serving
from tests.unit.gateway.test_cli import Cli
from tests.unit.gateway.web.api.conftest import POLICY, Policies

USERS = {"bearer-of-ada": user("ada"), "bearer-of-root": user("root")}


@pytest.fixture
def store(cli: Cli, tmp_path: Path) -> Path:
    cli("init", "--store", tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def tokens(store: Path) -> Iterator[Tokens]:
    found = Tokens(FolderStore(store))
    yield found
    found.close()


@pytest.fixture
def server(store: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the interface to ada and root, who are told apart by fixed words, as a provider's would be."""
    api = ApiApp(
        Repository.open(FolderStore(store)), policies=Policies(parse_policy(POLICY)), tokens=tokens,
        settings=load(flags={"auth.policy": "store"}, environ={}, file=None),
    )  # fmt: skip

    def app(environ: Environ, start_response: StartResponse) -> "Iterator[Buffer]":
        shown = str(environ.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer ")
        who: Principal | None = USERS.get(shown)
        if who is None:
            try:
                who = tokens.check(shown)
            except BadCredentials:
                start_response("401 Unauthorized", [("Content-Length", "0")])
                return iter(())
        return iter(api({**environ, PRINCIPAL: who}, start_response))

    with serving(app) as running:
        monkeypatch.setenv("AETHERFS_SERVER", running.url)
        monkeypatch.setenv("AETHERFS_TOKEN", "bearer-of-ada")
        yield running.url


def test_a_token_is_made_in_a_store_and_printed_once(cli: Cli, store: Path, tokens: Tokens) -> None:
    text = cli("token", "create", "ci", "--allow", "read,push:maps", "--allow", "read:@geo/*", "--store", store).strip()
    assert re.fullmatch(r"aefs_[a-z2-7]{10}_[a-z2-7]{40}", text)
    assert text not in cli.err
    principal = tokens.check(text)
    assert ([str(grant) for grant in principal.grants], principal.owner) == (["read,push:maps", "read:@geo/*"], None)
    assert text.rpartition("_")[2] not in cli("token", "ls", "--json", "--store", store)


def test_json_has_the_name_and_the_token(cli: Cli, store: Path, tokens: Tokens) -> None:
    made = cli.json("token", "create", "lab", "--allow", "read:*", "--nfs", "--expires", "2w", "--store", store)
    assert (made["name"], made["kind"], made["rules"]) == ("lab", "nfs", ["read:*"])
    assert tokens.check(made["token"], nfs=True).name == "lab"
    [listed] = cli.json("token", "ls", "--store", store)["tokens"]
    # When it was used, a moment ago, may be written down by now or not.
    assert {**listed, "last_used": None} == {key: value for key, value in made.items() if key != "token"}


def test_a_name_is_taken_until_its_token_is_revoked(cli: Cli, store: Path) -> None:
    for _ in range(2):
        cli("token", "create", "ci", "--allow", "read:*", "--store", store)
        cli("token", "create", "ci", "--allow", "read:*", "--store", store, exits=5)
        assert cli("token", "revoke", "ci", "--store", store) == "token ci is revoked\n"
    assert cli("token", "ls", "--store", store) == ""
    [ended] = cli.json("token", "ls", "--all", "--store", store)["tokens"]
    assert ended["state"] == "revoked"
    cli("token", "revoke", "cj", "--store", store, exits=3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ci",), "--allow"),
        (("ci", "--allow", "read"), "ACTIONS:PATTERN"),
        (("ci", "--allow", "eat:*"), "is no action"),
        (("ci", "--allow", "read:../x"), "not a pattern"),
        (("ci", "--allow", "push:*", "--nfs"), "reading alone"),
        (("ci", "--allow", "read:*", "--expires", "soon"), "12h, 30d or 2w"),
        (("a/b", "--allow", "read:*"), "no name of a token"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(cli: Cli, store: Path, arguments: tuple[str, ...], said: str) -> None:
    cli("token", "create", *arguments, "--store", store, exits=2)
    assert said in cli.err
    assert cli.json("token", "ls", "--all", "--store", store)["tokens"] == []


def test_through_a_gateway_a_token_belongs_to_who_makes_it(cli: Cli, server: str, tokens: Tokens) -> None:
    made = cli.json("token", "create", "ci", "--allow", "read:maps", "--expires", "12h")
    assert made["owner"] == "user:ada"
    assert tokens.check(made["token"]).owner == user("ada")
    assert "user:ada" in cli("token", "ls")
    cli("token", "create", "ci", "--allow", "read:maps", exits=5)
    cli("token", "revoke", "ci")
    cli("token", "revoke", "nobodys", exits=3)
    assert cli("token", "ls") == ""
    assert [one["state"] for one in cli.json("token", "ls", "--all")["tokens"]] == ["revoked"]


def test_a_token_makes_no_tokens_through_a_gateway(
    cli: Cli, server: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = cli("token", "create", "ci", "--allow", "read,admin:*").strip()
    cli("token", "create", "other", "--allow", "read:*")
    monkeypatch.setenv("AETHERFS_TOKEN", token)
    cli("token", "create", "cj", "--allow", "read:*", exits=4)
    assert "makes no tokens" in cli.err
    cli("--server", server, "token", "revoke", "other", exits=3)  # that there is, but not for it
    monkeypatch.setenv("AETHERFS_TOKEN", "bearer-of-root")
    cli("token", "revoke", "ci")
    monkeypatch.setenv("AETHERFS_TOKEN", token)
    cli("-v", "token", "ls", exits=4)
    assert "does not take this login" in cli.err
    assert token.rpartition("_")[2] not in cli.err


def test_all_pages_of_a_list_are_read(cli: Cli, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.token.PAGE", 2)
    for number in range(5):
        cli("token", "create", f"t{number}", "--allow", "read:*")
    assert [one["name"] for one in cli.json("token", "ls")["tokens"]] == [f"t{number}" for number in range(5)]


def test_without_a_login_a_gateway_is_asked_in_vain(cli: Cli, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AETHERFS_TOKEN")
    cli("token", "ls", exits=4)
    assert "aetherfs login" in cli.err
    monkeypatch.setenv("AETHERFS_TOKEN", "two words\n hidden")
    cli("token", "ls", exits=2)
    assert "hidden" not in cli.err


def test_the_command_line_wins_over_the_environment(cli: Cli, server: str, store: Path, tmp_path: Path) -> None:
    cli("init", "--store", tmp_path / "other")
    made = cli.json("token", "create", "ci", "--allow", "read:*", "--store", tmp_path / "other")
    assert made["owner"] is None
    assert cli.json("token", "ls")["tokens"] == []
    cli("token", "ls", "--store", store, "--server", server, exits=2)
    cli("ls", exits=2)
    assert "AETHERFS_SERVER: this command works on stores directly" in cli.err
    cli("ls", "--store", store)


@pytest.mark.parametrize(
    ("url", "exits"),
    [("http://192.0.2.1:8080", 4), ("ftp://x", 2), ("https://ada:hunter2@x", 2), ("http://127.0.0.1:1", 7)],
)
def test_a_gateway_that_cannot_be_asked_is_told_why(
    cli: Cli, url: str, exits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERFS_TOKEN", "bearer-of-ada")
    cli("token", "ls", "--server", url, exits=exits)
    assert cli.err.startswith("aetherfs: ")
    assert "hunter2" not in cli.err
    assert "bearer-of-ada" not in cli.err


def test_what_a_gateway_says_reaches_a_terminal_without_its_controls(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(environ: Environ, start_response: StartResponse) -> "Iterator[Buffer]":
        one = {"name": "a\x1b[2Jb", "state": "good", "rules": ["\x1b]0;x\x07"]}
        body = json.dumps({"tokens": [one], "next_page_token": ""}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return iter((body,))

    with serving(hostile) as running:
        out = cli("token", "ls", "--server", running.url)
    assert "\x1b" not in out
    assert "\x07" not in out
