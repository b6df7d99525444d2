"""`aetherfs verify`: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest

from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from tests.support.folders import Failing
from tests.unit.gateway.test_cli import Cli


def packs(home: Path) -> list[Path]:
    return sorted(path for path in (home / "aetherfs" / "store" / "packs").rglob("*") if path.is_file())


def test_a_sound_store_is_well(cli: Cli, two_versions: Path) -> None:
    assert cli("verify").startswith("all is well: 1 dataset, 2 states, 2 packs (--deep")
    found = cli.json("verify", "--deep")
    assert (found["ok"], found["deep"], found["findings"], found["files"]) == (True, True, [], 4)
    assert cli.json("verify", "data:1.0.0")["states"] == 1


def test_damage_is_exit_6_and_says_where_what_it_touches_and_what_to_do(
    cli: Cli, two_versions: Path, home: Path
) -> None:
    for pack in packs(home):
        pack.chmod(0o644)
        data = bytearray(pack.read_bytes())
        data[64] ^= 1
        pack.write_bytes(data)
    cli("verify")
    lines = cli("verify", "--deep", exits=6).splitlines()
    assert sum(line.startswith("damaged pack packs/") for line in lines) == 2
    assert "    file data:1.0.0 a.txt" in lines
    assert sum("to do: bring it back" in line for line in lines) == 2
    assert lines[-1].startswith("2 objects with faults: ")


def test_json_of_what_is_missing_is_one_document(cli: Cli, two_versions: Path, home: Path) -> None:
    for pack in packs(home):
        pack.unlink()
    found = json.loads(cli("verify", "data:2.0.0", "--json", exits=6))
    assert found["ok"] is False
    assert {finding["fault"] for finding in found["findings"]} == {"missing"}
    assert {name for finding in found["findings"] for name in finding["touches"]} == {"data:2.0.0", "data:latest"}


def test_a_store_without_its_record_is_checked_all_the_same(cli: Cli, two_versions: Path, home: Path) -> None:
    (home / "aetherfs" / "store" / "aetherfs.json").unlink()
    assert cli("verify", exits=6).startswith("missing root aetherfs.json")


def test_no_store_and_no_such_tag_are_not_found(cli: Cli, tmp_path: Path, two_versions: Path) -> None:
    cli("verify", "--store", tmp_path / "none", exits=3)
    cli("verify", "data:9.9.9", exits=3)


def test_a_store_that_cannot_be_reached_is_exit_7(
    cli: Cli, two_versions: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> tuple[ObjectStore, None]:
        failing = Failing(FolderStore(home / "aetherfs" / "store"), method="get")
        failing.calls_left = 0
        return failing, None

    monkeypatch.setattr("gateway.stores.connect", unreachable)
    assert cli("verify", exits=7) == ""
    assert "cannot be reached" in cli.err
