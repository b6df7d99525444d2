"""`aetherfs user`: passwords that come in by standard input or a terminal, and every way to be refused."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from auth.hashes import check_hash, verify
from auth.principal import user
from auth.tokens import HTTP, parse_rules
from gateway.access.tokens import Tokens
from gateway.access.users import read_users
from store.objects.local import FolderStore
from tests.unit.auth.test_hashes import QUICK
from tests.unit.gateway.cli_login.conftest import Say
from tests.unit.gateway.test_cli import Cli

SECRET = b"correct horse"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_a_user_is_added_and_gets_another_password_and_goes(cli: Cli, say: Say, file: Path) -> None:
    say(SECRET + b"\n")
    assert cli("user", "add", "ada", "--file", file) == "user ada is added\n"
    assert file.stat().st_mode & 0o777 == 0o600
    first = read_users(file).get("ada") or ""
    assert check_hash(first).startswith("argon2id")
    assert verify(first, SECRET)
    say(b"another one\r\n")
    assert cli("user", "passwd", "ada", "--file", file, "--bcrypt") == "user ada has another password\n"
    second = read_users(file).get("ada") or ""
    assert check_hash(second) == "bcrypt, cost 12"
    assert verify(second, b"another one")
    assert cli("user", "rm", "ada", "--file", file) == "user ada is removed\n"
    assert "tokens that they made stay good" in cli.err
    assert read_users(file).names == ()


def test_a_user_s_tokens_go_with_them_where_that_is_asked_for(cli: Cli, say: Say, file: Path, tmp_path: Path) -> None:
    cli("init", "--store", tmp_path / "store")
    tokens, rules = Tokens(FolderStore(tmp_path / "store")), parse_rules(["read:*"], kind=HTTP)
    owners = {"ada-ci": "ada", "ada-lab": "ada", "ada-old": "ada", "bob-ci": "bob"}
    made = {name: str(tokens.create(name, rules, owner=user(owner))[0]) for name, owner in owners.items()}
    tokens.create("ops", rules)
    tokens.revoke("ada-old")
    file.write_text(f"ada:{QUICK}\nbob:{QUICK}\n")
    told = cli.json("user", "rm", "ada", "--file", file, "--tokens", "--store", tmp_path / "store")
    assert told["tokens_revoked"] == ["ada-ci", "ada-lab"]
    assert "stay good" not in cli.err
    assert read_users(file).names == ("bob",)
    assert {known.record.name for _, known in tokens.list() if not known.record.revoked_ns} == {"bob-ci", "ops"}
    assert not any(secret in str(told) + cli.err for secret in made.values())


def test_users_are_listed_without_their_hashes(cli: Cli, file: Path) -> None:
    file.write_text(f"# people\nbob:{QUICK}\nada:{QUICK}\n")
    assert cli("user", "ls", "--file", file) == "NAME  HASH\nada   bcrypt, cost 4\nbob   bcrypt, cost 4\n"
    found = cli.json("user", "ls", "--file", file)
    assert found["users"] == [{"name": "ada", "hash": "bcrypt, cost 4"}, {"name": "bob", "hash": "bcrypt, cost 4"}]
    assert QUICK not in str(found)
    file.write_text("")
    assert cli("user", "ls", "--file", file) == ""


def test_results_are_json_where_that_is_asked_for(cli: Cli, say: Say, file: Path) -> None:
    say(SECRET)
    assert cli.json("user", "add", "ada", "--file", file) == {"file": str(file), "name": "ada", "added": True}
    say(SECRET)
    assert cli.json("user", "passwd", "ada", "--file", file)["changed"] is True
    assert cli.json("user", "rm", "ada", "--file", file)["removed"] is True


def test_the_file_is_that_of_the_settings_where_none_is_named(
    cli: Cli, say: Say, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("user", "ls", exits=2)
    assert "give --file FILE, or set auth.basic.htpasswd" in cli.err
    monkeypatch.setenv("AETHERFS_AUTH_BASIC_HTPASSWD", str(file))
    say(SECRET)
    cli("user", "add", "ada")
    assert [one["name"] for one in cli.json("user", "ls")["users"]] == ["ada"]


def test_a_user_who_is_there_is_a_conflict_and_one_who_is_not_is_not_found(cli: Cli, say: Say, file: Path) -> None:
    file.write_text(f"ada:{QUICK}\n")
    say(SECRET)
    cli("user", "add", "ada", "--file", file, exits=5)
    assert "there is a user 'ada' already" in cli.err
    for command in ("passwd", "rm"):
        say(SECRET)
        cli("user", command, "bob", "--file", file, exits=3)
        cli("user", command, "bob", "--file", file.with_name("none"), exits=3)
    assert file.read_text() == f"ada:{QUICK}\n"


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("a:b", SECRET, "no colon"),
        ("", SECRET, "1 to 256"),
        (" ada", SECRET, "no space around it"),
        ("ada", b"", "the password is empty"),
        ("ada", b"\n", "the password is empty"),
        ("ada", b"two\nlines\n", "line break"),
        ("ada", b"\xff\xfe", "no UTF-8"),
        ("ada", b"p" * 5000, "at most 1024"),
    ],
)
def test_names_and_passwords_that_cannot_be_used_are_wrong_usage(
    cli: Cli, say: Say, file: Path, name: str, password: bytes, why: str
) -> None:
    say(password)
    cli("user", "add", "--file", file, "--", name, exits=2)
    assert why in cli.err
    assert not file.exists()


def test_a_password_that_bcrypt_would_cut_is_refused(cli: Cli, say: Say, file: Path) -> None:
    say(b"p" * 73)
    cli("user", "add", "ada", "--bcrypt", "--file", file, exits=2)
    assert "bcrypt looks at 72 alone" in cli.err
    say(b"p" * 73)
    cli("user", "add", "ada", "--file", file)


def test_a_short_password_is_taken_with_a_remark_that_does_not_repeat_it(cli: Cli, say: Say, file: Path) -> None:
    say(b"hunter2")
    cli("user", "add", "ada", "--file", file)
    assert "quickly guessed" in cli.err
    assert "hunter2" not in cli.err


def test_a_file_that_cannot_be_used_says_which_line(cli: Cli, say: Say, file: Path) -> None:
    file.write_text(f"ada:{QUICK}\nbob:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    for arguments in (("ls",), ("add", "eve"), ("passwd", "ada"), ("rm", "ada")):
        say(SECRET)
        cli("user", *arguments, "--file", file, exits=2)
        assert "line 2: SHA-1" in cli.err
    file.write_text("")
    file.chmod(0o666)
    cli("user", "ls", "--file", file, exits=2)
    assert "chmod go-w" in cli.err
    cli("user", "ls", "--file", file.with_name("none"), exits=2)
    assert "cannot be read" in cli.err
    cli("user", "ls", "--file", "", exits=2)


@pytest.mark.parametrize(("second", "code"), [(SECRET, 0), (b"other", 1)])
def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(file: Path, second: bytes, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "user", "add", "ada", "--file", str(file)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""

    def until(words: bytes) -> None:
        nonlocal shown
        start = len(shown)
        while words not in shown[start:]:
            assert select.select([ours], [], [], 30)[0], shown
            shown += os.read(ours, 4096)

    until(b"Password: ")
    os.write(ours, SECRET + b"\n")
    until(b"Repeat for confirmation: ")
    os.write(ours, second + b"\n")
    if code:
        until(b"do not match")
        process.terminate()
    else:
        until(b"is added")
    process.wait(30)
    os.close(ours)
    assert file.exists() is (code == 0)
    assert SECRET not in shown
    assert b"other" not in shown
