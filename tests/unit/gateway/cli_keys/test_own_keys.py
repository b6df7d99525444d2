"""A key in this user's own folder: it tells that its store was encrypted, and several may make a store at once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import new_store
from store.commit import compare_and_set
from store.root import create_store, encode_root
from store.sealing.key_source import make_envelope, make_key_file, read_key_file
from tests.support.vault import Vault, put
from tests.unit.gateway.cli_keys.conftest import everything
from tests.unit.gateway.cli_keys.test_record import in_plain
from tests.unit.gateway.test_cli import Cli


def test_a_downgraded_store_is_refused_by_who_has_its_key_and_never_saw_it(
    cli: Cli, tmp_path: Path, home: Path, folder: Path
) -> None:
    cli("init", "--encrypt", "--store", tmp_path / "s")
    [key_file] = home.rglob("*.key")
    shutil.rmtree(home / "aetherfs" / "stores")  # as on another machine, to which the key was copied
    store = Vault(tmp_path / "s", key_file)
    document = store.document()
    in_plain(document)
    store.forge(document)
    before = everything(store.path)
    for words in (("ls",), ("push", folder, "-t", "data:1.0.0"), ("init",), ("verify",)):
        cli(*words, "--store", store.path, exits=4)
        assert f"{key_file} is the key of that store" in cli.err
    assert everything(store.path) == before


@pytest.mark.parametrize("named", [True, False], ids=["one key file for both", "a key of each"])
def test_two_that_make_a_store_at_once_end_with_one_store_and_its_key(
    cli: Cli, tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    key_file: list[str | Path] = ["--key-file", tmp_path / "k"] if named else []
    flags: list[str | Path] = ["--store", tmp_path / "s", *key_file]
    real = create_store
    faster: list[bool] = []

    def slower(*args: Any, **kwargs: Any) -> Any:
        """Let another one be faster, once it was seen that there is no store."""
        if not faster:
            faster.append(True)
            cli("init", "--encrypt", *flags)
        return real(*args, **kwargs)

    monkeypatch.setattr(new_store, "create_store", slower)
    made = cli.json("init", "--encrypt", *flags)
    assert (made["created"], made["key_file"], made["recovery"]) == (False, None, "")
    assert len([*home.rglob("*.key")]) == (0 if named else 1)
    cli("push", folder, "-t", "data:1.0.0", *flags)


def test_a_key_file_that_another_makes_meanwhile_is_used(
    cli: Cli, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(path: Path) -> Any:
        make_key_file(path)
        return make_key_file(path)

    monkeypatch.setattr(new_store, "make_key_file", slower)
    flags = ("--store", tmp_path / "s", "--key-file", tmp_path / "k")
    cli("init", "--encrypt", *flags)
    cli("push", folder, "-t", "data:1.0.0", *flags)


def test_a_key_file_that_is_a_link_to_nothing_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    cli("init", "--encrypt", "--store", tmp_path / "s", "--key-file", tmp_path / "link", exits=4)
    assert f"the key from file {tmp_path / 'link'} cannot be read" in cli.err
    assert not (tmp_path / "s" / "aetherfs.json").exists()


def test_a_key_file_that_windows_editors_wrote_is_read(cli: Cli, filled: Vault, tmp_path: Path) -> None:
    marked = tmp_path / "marked.key"
    marked.touch(mode=0o600)
    marked.write_bytes(b"\xef\xbb\xbf" + filled.key.encode() + b"  \r\n")
    cli("ls", "--store", filled.path, "--key-file", marked)


def test_verify_finds_a_head_that_was_put_back(cli: Cli, filled: Vault) -> None:
    [key] = [key for key in filled.plain_keys("datasets/") if key.endswith("/data")]
    old = filled.file(key).read_bytes()
    cli("tag", "data:1.0.0", "data:qa", *filled.flags)
    assert cli.json("verify", *filled.flags)["ok"]
    put(filled.file(key), old)
    cli("verify", "other:1.0.0", *filled.flags)
    found = json.loads(cli("verify", "--json", *filled.flags, exits=6))["findings"]
    assert [finding["object"] for finding in found] == [key]
    assert "was seen here before: somebody has put an older one back" in found[0]["reasons"][0]


@pytest.mark.parametrize("flags", [(), ("--data",)], ids=["key", "data key"])
def test_a_record_put_back_while_keys_are_exchanged_is_refused(
    cli: Cli, filled: Vault, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    record = filled.path / "aetherfs.json"
    old = record.read_bytes()
    cli("key", "rotate", "--data", *filled.flags)
    new = record.read_bytes()

    def after_it_was_put_back(*args: Any) -> Any:
        put(record, old)
        return compare_and_set(*args)

    monkeypatch.setattr(new_store, "compare_and_set", after_it_was_put_back)
    cli("key", "rotate", *flags, *filled.flags, exits=6)
    assert "aetherfs.json is at write 1, but write 2 was seen here before" in cli.err
    assert record.read_bytes() == old
    put(record, new)
    cli("ls", *filled.flags)


@pytest.mark.parametrize("noted", ["with its secrets", "by an earlier version"])
def test_a_store_of_the_same_id_and_key_with_other_secrets_is_refused(
    cli: Cli, filled: Vault, folder: Path, home: Path, noted: str
) -> None:
    """Who may have KMS wrap keys, and not unwrap them, can make one, whose data keys they know."""
    true = filled.root()
    envelope, keys = make_envelope(read_key_file(filled.key_file), true.store, 1)
    imitation = encode_root(replace(true, seq=true.seq + 5, envelope=envelope, keys=keys), "0" * 24)
    [note] = (home / "aetherfs" / "stores").glob("*.json")
    if noted == "by an earlier version":
        kept = json.loads(note.read_bytes())
        del kept["mark"]
        note.write_text(json.dumps(kept))
        cli("ls", *filled.flags)
    record = filled.path / "aetherfs.json"
    sound = record.read_bytes()
    put(record, imitation)
    before = everything(filled.path)
    for words in (("ls",), ("push", folder, "-t", "data:2.0.0"), ("key", "rotate"), ("verify",)):
        cli(*words, *filled.flags, exits=4)
        assert "has other secrets: somebody has put it in that one's place" in cli.err
    assert everything(filled.path) == before
    put(record, sound)
    cli("ls", *filled.flags)
