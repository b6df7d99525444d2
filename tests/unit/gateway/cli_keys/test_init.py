"""`aetherfs init --encrypt`, and the ways in which commands are given a key: which are taken, which refused."""

import base64
import itertools
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import stores
from gateway.cli import main
from store.objects.base import ObjectStore
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import everything, vault_at
from tests.unit.gateway.test_cli import PROJECT, Cli
from tests.unit.store.objects.test_probe_and_guard import IgnoresAll

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("ls",), ("show", "data:1.0.0"), ("cat", "data:1.0.0/a.txt"), ("pull", "data:1.0.0", "DEST"), ("verify",),
    ("stats",), ("tag", "data:1.0.0", "data:qa"), ("untag", "data:1.0.0"), ("push", "SOURCE", "-t", "data:2.0.0"),
    ("key", "show"), ("key", "rotate"), ("key", "rotate", "--data"), ("key", "sheet"), ("init", "--encrypt"), ("init",),
)  # fmt: skip


def on_sheet(text: str) -> str:
    """Take the key off a recovery sheet, with its spaces."""
    found = re.search(r"^  key [0-9a-f]{16}\n((?:  +\S+(?: \S+)*\n){2})", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_a_key_file_that_is_not_there_is_made_for_its_owner_alone(cli: Cli, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        vault = vault_at(cli, tmp_path / "s", tmp_path / "new" / "my.key")
    finally:
        os.umask(old)
    assert stat.S_IMODE(vault.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(vault.key_file.parent.stat().st_mode) == 0o700
    assert os.listdir(vault.key_file.parent) == ["my.key"]
    assert cli.json("key", "show", *vault.flags)["key"]["kind"] == "key"


def test_a_key_file_that_is_there_is_used_as_it_is(cli: Cli, tmp_path: Path) -> None:
    key_file = tmp_path / "my.key"
    key_file.write_text(base64.b64encode(bytes(range(32))).decode())
    key_file.chmod(0o400)
    vault_at(cli, tmp_path / "s", key_file)
    assert base64.b64decode(key_file.read_text()) == bytes(range(32))


def test_the_key_may_come_from_the_environment_and_no_file_is_made(
    cli: Cli, tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERFS_KEY", base64.b64encode(b"k" * 32).decode())
    made = cli.json("init", "--encrypt", "--store", tmp_path / "s")
    assert made["key_file"] is None
    assert [*home.rglob("*.key")] == []
    cli("push", folder, "-t", "data:1.0.0", "--store", tmp_path / "s")
    assert cli("cat", "data:1.0.0/a.txt", "--store", tmp_path / "s") == "a" * 1000


def test_without_a_key_one_is_made_in_the_configuration_folder_and_found_there(
    cli: Cli, tmp_path: Path, home: Path, folder: Path
) -> None:
    made = cli.json("init", "--encrypt", "--store", tmp_path / "s")
    [key_file] = home.rglob("*.key")
    assert made["key_file"] == str(key_file)
    assert key_file == home / "aetherfs" / "keys" / f"{made['id']}.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    cli("push", folder, "-t", "data:1.0.0", "--store", tmp_path / "s")
    assert cli("cat", "data:1.0.0/a.txt", "--store", tmp_path / "s") == "a" * 1000


@pytest.mark.parametrize("how", ["file", "environment"])
def test_a_store_opens_with_the_key_off_its_sheet(
    cli: Cli, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    printed = cli("init", "--encrypt", "--store", tmp_path / "s")
    cli("push", folder, "-t", "data:1.0.0", "--store", tmp_path / "s")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another machine"))
    cli("ls", "--store", tmp_path / "s", exits=4)
    assert "is encrypted: give key" in cli.err
    key = on_sheet(printed)
    assert key.count(" ") > 10
    if how == "environment":
        monkeypatch.setenv("AETHERFS_KEY", key)
        assert cli("cat", "data:1.0.0/a.txt", "--store", tmp_path / "s") == "a" * 1000
        return
    restored = tmp_path / "restored.key"
    restored.write_text(f"# off the sheet\n\n{key}")
    restored.chmod(0o600)
    flags = ("--store", tmp_path / "s", "--key-file", restored)
    assert cli("cat", "data:1.0.0/a.txt", *flags) == "a" * 1000
    assert on_sheet(cli("key", "sheet", *flags)) == key
    assert on_sheet(cli.json("key", "sheet", *flags)["recovery"] + "\n") == key


def test_a_sheet_has_what_somebody_needs_who_knows_nothing_else(cli: Cli, tmp_path: Path) -> None:
    made = cli.json("init", "--encrypt", "--store", tmp_path / "s")
    for needed in (made["id"], str(tmp_path / "s"), "--key-file", "lock it away", "mode 600"):
        assert needed in made["recovery"]


def forms(key: str) -> list[str]:
    """Return how a key could be seen somewhere."""
    raw = base64.b64decode(key)
    return [key, key.rstrip("="), base64.urlsafe_b64encode(raw).decode(), raw.hex(), repr(raw)[2:-1]]


def test_the_key_is_in_no_message_log_or_error(
    cli: Cli, filled: Vault, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown, before = [], filled.key
    for words in COMMANDS:
        given = [{"DEST": str(tmp_path / "dest"), "SOURCE": str(folder)}.get(word, word) for word in words]
        out = cli("-vv", *given, *filled.flags)
        shown.append(cli.err if words in (("key", "sheet"), ("key", "rotate")) else out + cli.err)
    other = vault_at(cli, tmp_path / "other", tmp_path / "other.key")
    assert main.run(["-vv", "ls", "--store", str(filled.path), "--key-file", str(other.key_file)]) == 4
    out, err = capfd.readouterr()
    assert "Traceback" in err
    shown.append(out + err)
    for form in itertools.chain(*map(forms, (before, filled.key, other.key))):
        assert not any(form in text for text in shown), form


def test_a_text_that_is_no_key_is_not_repeated(cli: Cli, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.key_file.write_text("hunter2 is nearly a key")
    cli("ls", *vault.flags, exits=4)
    assert "hunter2" not in cli.err
    monkeypatch.setenv("AETHERFS_KEY", "hunter2 is nearly a key")
    cli("ls", "--store", vault.path, exits=4)
    assert "the key from variable AETHERFS_KEY is no key: base64 of 32 bytes is expected" in cli.err
    assert "hunter2" not in cli.err


def test_no_option_takes_the_key_itself() -> None:
    """What is on a command line, every user of the machine reads."""
    for words in (("init",), ("key", "rotate"), ("ls",)):
        said = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *words, "--help"],
            capture_output=True, text=True, check=False, cwd=PROJECT,
        ).stdout  # fmt: skip
        assert not re.search(r"--(key|new-key|secret|passphrase)[ =]", said)


def flipped(path: Path) -> None:
    path.write_text("+" * 43 + "=")


def short(path: Path) -> None:
    path.write_text(base64.b64encode(bytes(31)).decode())


def long(path: Path) -> None:
    path.write_text(base64.b64encode(bytes(33)).decode())


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\0\x80" * 20)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


def for_group(path: Path) -> None:
    path.chmod(0o640)


def for_all(path: Path) -> None:
    path.chmod(0o604)


def to_write(path: Path) -> None:
    path.chmod(0o620)


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


BAD: dict[Callable[[Path], None], str] = {
    flipped: "does not open this store: it is key [0-9a-f]{16}, and [0-9a-f]{16} is wanted",
    short: "is no key", long: "is no key", garbage: "is no key", empty: "is no key", huge: "is no key",
    for_group: "is not used: others may read it; run `chmod 600 ", for_all: "is not used: others may read it",
    to_write: "is not used: others may read it",
    gone: "cannot be read: No such file", a_folder: "cannot be read: it is a folder", a_pipe: "cannot be read: it is",
    a_dangling_link: "cannot be read: No such file",
}  # fmt: skip


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_key_file_that_cannot_be_used_is_refused_by_every_command_before_it_does_anything(
    cli: Cli, filled: Vault, folder: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(filled.key_file)
    before = everything(filled.path)
    for words in COMMANDS:
        given = [{"DEST": str(tmp_path / "dest"), "SOURCE": str(folder)}.get(word, word) for word in words]
        cli(*given, *filled.flags, exits=4)
        assert re.search(rf"the key from file {filled.key_file} {BAD[spoil]}", cli.err), cli.err
        assert len(cli.err.splitlines()) == 1
    assert everything(filled.path) == before
    assert not (tmp_path / "dest").exists()


def test_no_key_is_refused_and_says_which_is_wanted_and_how_to_give_it(
    cli: Cli, filled: Vault, folder: Path, tmp_path: Path
) -> None:
    check = cli.json("key", "show", *filled.flags)["key"]["check"]
    before = everything(filled.path)
    for words in COMMANDS:
        given = [{"DEST": str(tmp_path / "dest"), "SOURCE": str(folder)}.get(word, word) for word in words]
        cli(*given, "--store", filled.path, exits=4)
        assert f"is encrypted: give key {check} as a file (--key-file, AETHERFS_KEY_FILE" in cli.err
    assert everything(filled.path) == before


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_key_given_in_two_ways_is_wrong_usage(
    cli: Cli, filled: Vault, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    path = filled.path
    if not encrypted:
        path = tmp_path / "plain"
        cli("init", "--store", path)
    before = everything(path)
    monkeypatch.setenv("AETHERFS_KEY", filled.key)
    for words in COMMANDS:
        given = [{"DEST": str(tmp_path / "dest"), "SOURCE": str(folder)}.get(word, word) for word in words]
        cli(*given, "--store", path, "--key-file", filled.key_file, exits=2)
        assert "store.key_file and AETHERFS_KEY are both set: unset all but one" in cli.err
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", "alias/x")
    cli("ls", "--store", path, exits=2)
    assert "AETHERFS_KEY and store.kms_key are both set" in cli.err
    assert everything(path) == before
    cli("init", "--encrypt", "--store", tmp_path / "never", exits=2)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("way", ["file", "environment", "kms"])
def test_a_key_given_for_a_plain_store_is_refused(
    cli: Cli, filled: Vault, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    plain = tmp_path / "plain"
    cli("init", "--store", plain)
    cli("push", folder, "-t", "data:1.0.0", "--store", plain)
    before = everything(plain)
    flags: list[str | Path] = ["--store", plain]
    if way == "file":
        flags += ["--key-file", filled.key_file]
    else:
        monkeypatch.setenv(*{"environment": ("AETHERFS_KEY", filled.key), "kms": ("AETHERFS_STORE_KMS_KEY", "x")}[way])
    for words in COMMANDS:
        given = [{"DEST": str(tmp_path / "dest"), "SOURCE": str(folder)}.get(word, word) for word in words]
        cli(*given, *flags, exits=4)
        assert re.search(r"is not encrypted, but (store\.key_file|AETHERFS_KEY|store\.kms_key) gives a key", cli.err)
    assert everything(plain) == before


def test_with_a_key_the_default_store_is_not_made_in_plain(
    cli: Cli, home: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERFS_KEY", base64.b64encode(b"k" * 32).decode())
    for words in (("push", folder, "-t", "data:1.0.0"), ("ls",), ("init",)):
        cli(*words, exits=4)
        assert "--encrypt" in cli.err
    assert not (home / "aetherfs" / "store" / "aetherfs.json").exists()
    cli("init", "--encrypt")
    cli("push", folder, "-t", "data:1.0.0")
    assert cli.json("key", "show")["store"] == str(home / "aetherfs" / "store")


def test_init_encrypt_leaves_an_encrypted_store_as_it_is_and_refuses_a_plain_one(
    cli: Cli, filled: Vault, tmp_path: Path, folder: Path
) -> None:
    before, key = everything(filled.path), filled.key_file.read_bytes()
    again = cli.json("init", "--encrypt", *filled.flags)
    assert (again["created"], again["encrypted"], again["recovery"]) == (False, True, "")
    assert "is there already, left as it is" in cli("init", "--encrypt", *filled.flags)
    assert (everything(filled.path), filled.key_file.read_bytes()) == (before, key)
    plain = tmp_path / "plain"
    cli("init", "--store", plain)
    cli("push", folder, "-t", "data:1.0.0", "--store", plain)
    before = everything(plain)
    cli("init", "--encrypt", "--store", plain, exits=4)
    assert "is not encrypted, but cannot become so: make another store and push to it" in cli.err
    assert everything(plain) == before
    cli("init", "--encrypt", "--store", plain, "--key-file", tmp_path / "never.key", exits=4)
    assert not (tmp_path / "never.key").exists()


def test_where_conditions_are_ignored_nothing_is_made_without_single_writer(
    cli: Cli, tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kept(IgnoresAll):
        def close(self) -> None:
            """The next command goes on with it."""

    objects: ObjectStore = Kept()
    monkeypatch.setattr(stores, "open_objects", lambda address, **options: objects)
    flags = ("--store", str(tmp_path / "named, never opened"), "--key-file", str(tmp_path / "new.key"))
    cli("init", "--encrypt", *flags, exits=4)
    assert "--single-writer" in cli.err
    cli("init", "--encrypt", *flags[:2], exits=4)
    assert [*objects.list("")] == []
    assert not (tmp_path / "new.key").exists()
    assert [*home.rglob("*.key")] == []
    cli("init", "--encrypt", "--single-writer", *flags)
    cli("push", folder, "-t", "data:1.0.0", "--single-writer", *flags)
    assert cli("cat", "data:1.0.0/a.txt", *flags) == "a" * 1000
