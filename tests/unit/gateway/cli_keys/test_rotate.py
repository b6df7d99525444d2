"""`aetherfs key rotate`, `show`, `sheet`: what becomes of keys, of who holds them, and of who is at work meanwhile."""

import base64
import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Final

import pytest

from gateway.config import load
from gateway.stores import open_store
from store.blocks import BlockReader
from store.layout import ROOT_KEY
from store.repository import Repository
from store.sealing.envelope import MAX_DATA_KEYS, with_new_data_key
from store.sealing.key_source import read_key_file
from store.sealing.segments import HEADER, read_header
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import everything, vault_at
from tests.unit.gateway.test_cli import Cli

OWN: Final = ("packs/", "manifests/", "index/", "datasets/", "history/", "changes/")


def reads(cli: Cli, *flags: str | Path) -> bool:
    return cli("cat", "data:1.0.0/a.txt", *flags) == "a" * 1000


def sealed(vault: Vault) -> dict[str, tuple[bytes, int]]:
    return {name: found for name, found in everything(vault.path).items() if name.startswith(OWN)}


def key_ids(vault: Vault) -> dict[str, str]:
    """Return which data key each object names."""
    return {name: read_header(data[: HEADER.size]).key_id.hex() for name, (data, _) in sealed(vault).items()}


def test_a_rotated_file_opens_the_store_and_its_copy_of_before_does_not(
    cli: Cli, filled: Vault, tmp_path: Path
) -> None:
    old = tmp_path / "old.key"
    shutil.copy2(filled.key_file, old)
    before, wrapped = sealed(filled), filled.document()
    check = cli.json("key", "show", *filled.flags)["key"]["check"]
    told = cli.json("key", "rotate", *filled.flags)
    assert told["key"]["check"] != check
    assert reads(cli, *filled.flags)
    assert sealed(filled) == before  # no object was rewritten
    cli("ls", "--store", filled.path, "--key-file", old, exits=4)
    assert f"it is key {check}, and {told['key']['check']} is wanted" in cli.err
    record = (filled.path / ROOT_KEY).read_text()
    encryption = wrapped["encryption"]
    for of_old in (check, encryption["id"], encryption["handle"], *(one["wrapped"] for one in encryption["data"])):
        assert of_old not in record
        assert base64.b64decode(of_old)[:16].hex() not in record
    assert [one["id"] for one in encryption["data"]] == [one["id"] for one in filled.document()["encryption"]["data"]]
    assert "Recovery sheet" in told["recovery"]
    assert filled.key[:4] in told["recovery"]


def test_the_key_of_a_given_file_is_kept_since_other_stores_may_have_it(
    cli: Cli, filled: Vault, tmp_path: Path
) -> None:
    twin = vault_at(cli, tmp_path / "twin", filled.key_file)
    kept = Path(cli.json("key", "rotate", *filled.flags)["old_key_file"])
    assert kept.parent == filled.key_file.parent
    assert kept.stat().st_mode & 0o777 == 0o600
    cli("ls", *twin.flags, exits=4)
    cli("ls", "--store", twin.path, "--key-file", kept)
    assert f"it is kept in {filled.key_file}." in cli("key", "rotate", *filled.flags)


def test_a_key_in_the_configuration_folder_is_replaced_there(
    cli: Cli, tmp_path: Path, folder: Path, home: Path
) -> None:
    flags = ("--store", tmp_path / "s")
    cli("init", "--encrypt", *flags)
    cli("push", folder, "-t", "data:1.0.0", *flags)
    [key_file] = home.rglob("*.key")
    old = key_file.read_bytes()
    assert cli.json("key", "rotate", *flags)["old_key_file"] is None
    assert key_file.read_bytes() != old
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]
    assert reads(cli, *flags)


def test_a_key_given_by_value_wants_a_place_for_the_new_one(
    cli: Cli, filled: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--store", filled.path)
    monkeypatch.setenv("AETHERFS_KEY", filled.key)
    before = everything(filled.path)
    cli("key", "rotate", *flags, exits=2)
    assert "name a file for the new one with --new-key-file" in cli.err
    assert everything(filled.path) == before
    cli("key", "rotate", "--new-key-file", tmp_path / "new.key", *flags)
    cli("ls", *flags, exits=4)
    monkeypatch.delenv("AETHERFS_KEY")
    assert reads(cli, *flags, "--key-file", tmp_path / "new.key")
    cli("ls", *filled.flags, exits=4)


def test_a_new_key_file_that_is_there_is_used_and_the_same_key_is_no_new_one(
    cli: Cli, filled: Vault, tmp_path: Path
) -> None:
    other = vault_at(cli, tmp_path / "other", tmp_path / "other.key")
    before = everything(filled.path)
    cli("key", "rotate", "--new-key-file", filled.key_file, *filled.flags, exits=2)
    assert "the new key is the one that the store has" in cli.err
    (tmp_path / "bad.key").write_text("no key")
    (tmp_path / "bad.key").chmod(0o600)
    cli("key", "rotate", "--new-key-file", tmp_path / "bad.key", *filled.flags, exits=4)
    assert everything(filled.path) == before
    cli("key", "rotate", "--new-key-file", other.key_file, *filled.flags)
    assert reads(cli, "--store", filled.path, "--key-file", other.key_file)


def test_ways_of_rotating_exclude_each_other(cli: Cli, filled: Vault, tmp_path: Path) -> None:
    cli("key", "rotate", "--data", "--new-key-file", tmp_path / "x", *filled.flags, exits=2)
    cli("key", "rotate", "--new-kms-key", "k", "--new-key-file", tmp_path / "x", *filled.flags, exits=2)
    assert not (tmp_path / "x").exists()


def test_a_new_data_key_seals_what_comes_and_the_old_ones_open_what_was(cli: Cli, filled: Vault, folder: Path) -> None:
    before, was = sealed(filled), key_ids(filled)
    [first] = set(was.values())
    told = cli.json("key", "rotate", "--data", *filled.flags)
    assert [(one["id"] == first, one["current"]) for one in told["data_keys"]] == [(True, False), (False, True)]
    second = told["data_keys"][1]["id"]
    assert sealed(filled) == before
    assert reads(cli, *filled.flags)
    (folder / "new").write_bytes(random.Random(9).randbytes(50_000))
    cli("push", folder, "-t", "data:2.0.0", *filled.flags)
    now = key_ids(filled)
    written = {name for name in now if now[name] == second}
    assert any(name.startswith("packs/") for name in written)
    assert any(name.startswith("manifests/") for name in written)
    assert any(name.startswith("datasets/") for name in written)
    assert all(now[name] == first for name in now if name not in written)
    assert cli.json("verify", "--deep", *filled.flags)["ok"]
    cli("key", "rotate", *filled.flags)
    assert cli.json("verify", "--deep", *filled.flags)["ok"]


def test_there_is_an_end_to_data_keys_and_the_store_stays_readable(cli: Cli, filled: Vault) -> None:
    """The record of one more would be read by nobody."""
    from dataclasses import replace

    from store.objects.local import FolderStore
    from store.root import encode_root

    root, kek = filled.root(), read_key_file(filled.key_file).draw("").kek
    envelope = root.envelope
    assert envelope is not None
    while len(envelope.data) < MAX_DATA_KEYS:
        envelope = with_new_data_key(kek, envelope, root.store, 1)
    FolderStore(filled.path).put(ROOT_KEY, encode_root(replace(root, envelope=envelope), "operation"))
    assert reads(cli, *filled.flags)
    before = everything(filled.path)
    cli("key", "rotate", "--data", *filled.flags, exits=2)
    assert "the store has 256 data keys, and can have no more" in cli.err
    assert everything(filled.path) == before
    cli("key", "rotate", *filled.flags)
    assert reads(cli, *filled.flags)


def test_show_tells_which_keys_there_are_and_no_secret(cli: Cli, filled: Vault) -> None:
    text, document = cli("key", "show", *filled.flags), cli.json("key", "show", *filled.flags)
    assert document["key"]["check"] in text
    assert document["data_keys"][0]["id"][:12] in text
    root = filled.root()
    assert root.keys is not None
    secrets = [
        root.keys.id_secret,
        root.keys.handle,
        *root.keys.data.values(),
        read_key_file(filled.key_file).draw("").kek,
    ]
    for secret in secrets:
        for form in (base64.b64encode(secret.reveal()).decode()[:40], secret.reveal().hex()):
            assert form not in text + json.dumps(document)


def test_a_plain_store_has_no_key_to_look_after(cli: Cli, tmp_path: Path) -> None:
    cli("init", "--store", tmp_path / "s")
    for words in (("show",), ("rotate",), ("rotate", "--data"), ("sheet",)):
        cli("key", *words, "--store", tmp_path / "s", exits=4)
        assert "only an encrypted store has a key" in cli.err


def opened(vault: Vault) -> Repository:
    """Open a store as a gateway does, and keep it."""
    settings = load(flags={"store.url": str(vault.path), "store.key_file": str(vault.key_file)})
    found = open_store(settings)
    return Repository(found.objects, found.root, seen=found.seen)


def first_bytes(reader: Repository, ref: str) -> int:
    """Read all blocks of a state; return their bytes."""
    content = reader.catalogue.resolve(ref).content
    manifest = reader.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
    blocks = BlockReader(reader.objects, 1 << 20, id_key=reader.root.id_key)
    with contextlib.closing(blocks):
        return sum(map(len, blocks.load([*manifest.all_blocks()])))


def test_who_has_the_store_open_reads_what_a_later_data_key_seals(cli: Cli, filled: Vault, folder: Path) -> None:
    reader = opened(filled)
    size = first_bytes(reader, "data:1.0.0")
    cli("key", "rotate", "--data", *filled.flags)
    (folder / "new").write_bytes(random.Random(9).randbytes(50_000))
    cli("push", folder, "-t", "data:2.0.0", *filled.flags)
    assert first_bytes(reader, "data:2.0.0") > size
    assert reader.catalogue.resolve("data:1.0.0")


def test_who_has_the_store_open_goes_on_when_its_key_is_exchanged(cli: Cli, filled: Vault, folder: Path) -> None:
    from store.push.push import PushOptions, push

    reader = opened(filled)
    cli("key", "rotate", *filled.flags)
    assert first_bytes(reader, "data:1.0.0")
    (folder / "new").write_bytes(random.Random(9).randbytes(50_000))
    push(reader, folder, "data", ["2.0.0"], folder.with_name("push state"), PushOptions(by="tester"))
    assert cli.json("verify", "--deep", *filled.flags)["ok"]
    cli("key", "rotate", "--data", *filled.flags)
    cli("tag", "data:2.0.0", "data:qa", *filled.flags)
    assert reader.catalogue.resolve("data:qa", max_age_s=0).content == reader.catalogue.resolve("data:2.0.0").content
