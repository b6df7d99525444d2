"""Which store a command works on, what it makes, and what it refuses to do to it; what doctor says of one."""

from pathlib import Path

import pytest

from store import errors
from tests.unit.gateway.test_cli import Cli


def test_an_empty_store_address_is_wrong_usage_and_not_the_default_store(cli: Cli, home: Path) -> None:
    cli("ls", "--store", "", exits=2)
    assert not (home / "aetherfs").exists()


def test_an_empty_path_is_wrong_usage_and_not_the_present_folder(cli: Cli, published: str) -> None:
    cli("push", "", "-t", "data:2.0.0", exits=2)
    assert "the path is empty" in cli.err
    cli("pull", "data", "", "--force", exits=2)
    assert "the path is empty" in cli.err


def test_a_push_that_would_publish_its_own_store_is_refused_unless_the_store_is_left_out(
    cli: Cli, folder: Path
) -> None:
    store = folder / "sub" / "store"
    cli("init", "--store", store)
    cli("push", folder, "-t", "data:1.0.0", "--store", store, exits=2)
    assert "it lies in the folder to be published; --exclude sub/store leaves it out" in cli.err
    for inside in (store, store / "datasets"):
        inside.mkdir(exist_ok=True)
        cli("push", inside, "-t", "data:1.0.0", "--store", store, exits=2)
        assert "publish folders that lie outside of it" in cli.err
    assert cli("ls", "--store", store) == ""
    cli("push", folder, "-t", "data:1.0.0", "--store", store, "--exclude", "sub/store")
    assert [entry["name"] for entry in cli.json("ls", "data:1.0.0/sub", "--store", store)["entries"]] == ["run"]


def test_a_pull_over_the_store_itself_is_refused_even_when_forced(cli: Cli, folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "place" / "store"
    cli("init", "--store", store)
    cli("push", folder, "-t", "data:1.0.0", "--store", store)
    for dest in (store, store / "packs", store.parent):
        cli("pull", "data:1.0.0", dest, "--store", store, "--force", exits=1)
        assert "the store itself lies there" in cli.err
    assert cli("cat", "data:1.0.0/sub/run", "--store", store) == "#!/bin/sh\n"


def test_init_makes_a_store_and_leaves_one_that_is_there(cli: Cli, tmp_path: Path) -> None:
    first = cli.json("init", "--store", tmp_path / "s")
    again = cli.json("--store", tmp_path / "s", "init")
    assert first == {"store": str(tmp_path / "s"), "id": first["id"], "created": True}
    assert again == {**first, "created": False}


def test_embedded_store_is_made_at_first_use_in_the_users_data_directory(cli: Cli, home: Path) -> None:
    assert cli.json("ls") == {"datasets": []}
    assert (home / "aetherfs" / "store" / "aetherfs.json").is_file()


@pytest.mark.parametrize("command", ["init", "ls", "doctor"])
def test_a_file_is_no_store(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    out = cli(command, "--store", tmp_path / "file", exits=2)
    assert "it is not a folder" in out + cli.err


@pytest.mark.parametrize("part", ["manifests", "packs"])
def test_a_lost_object_that_the_store_names_is_corruption(cli: Cli, home: Path, published: str, part: str) -> None:
    for file in (home / "aetherfs" / "store" / part).rglob("*"):
        if file.is_file():
            file.unlink()
    assert cli("cat", "data:1.0.0/a.txt", exits=6) == ""
    assert f"no object '{part}/" in cli.err


def test_a_store_that_was_named_is_never_made_by_the_way(cli: Cli, tmp_path: Path, folder: Path) -> None:
    cli("push", folder, "-t", "data:1.0.0", "--store", tmp_path / "none", exits=3)
    assert "aetherfs init" in cli.err
    assert not (tmp_path / "none").exists()


def test_environment_names_the_store_and_the_flag_wins(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERFS_STORE", str(tmp_path / "environment"))
    assert cli.json("init")["store"] == str(tmp_path / "environment")
    assert cli.json("init", "--store", tmp_path / "flag")["store"] == str(tmp_path / "flag")


def test_a_key_for_an_unencrypted_store_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHERFS_KEY_FILE", "/some/key")
    cli("ls", exits=4)
    assert "is not encrypted" in cli.err


def test_doctor_finds_nothing_bad_on_an_empty_machine(cli: Cli) -> None:
    report = cli.json("doctor")
    assert report["ok"] is True
    states = {finding["name"]: finding["state"] for finding in report["findings"]}
    assert {"python", "chunker", "store", "cache", "http", "nfs"} <= set(states)
    assert "none yet" in next(finding["found"] for finding in report["findings"] if finding["name"] == "store")


def test_doctor_says_what_to_do_about_a_store_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    out = cli("doctor", "--store", tmp_path / "none", exits=3)
    assert "to do: aetherfs init" in out


@pytest.mark.parametrize(
    ("record", "fix", "code"),
    [("{", "bring the named object back", 6), (None, "let this user read and write that folder", 7)],
)
def test_doctor_says_what_helps_against_each_fault(
    cli: Cli, tmp_path: Path, record: str | None, fix: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    cli("init", "--store", store)
    if record is not None:
        (store / "aetherfs.json").write_text(record)
    else:

        def denied(objects: object, unlock: object) -> None:
            raise errors.StoreDenied(str(store), "Permission denied")

        monkeypatch.setattr("gateway.stores.open_root", denied)
    assert f"to do: {fix}" in cli("doctor", "--store", store, exits=code)
