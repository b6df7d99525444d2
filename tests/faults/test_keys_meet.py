"""Rotations that meet pushes, readers and each other, each a process: nobody is refused, nothing is lost."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.steps import write_folder
from tests.support.dying import start, wait
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import cli as cli
from tests.unit.gateway.cli_keys.conftest import folder as folder
from tests.unit.gateway.cli_keys.conftest import vault as vault
from tests.unit.gateway.conftest import home as home
from tests.unit.gateway.test_cli import Cli

ROUNDS = 4

Words = list[str | Path]


def all_at_once(work: Path, commands: Sequence[Words]) -> None:
    """Run command lines side by side; each has to be done well."""
    children = [start(words, said=work / f"said {number}") for number, words in enumerate(commands)]
    for number, child in enumerate(children):
        code = wait(child)
        said = (work / f"said {number}").read_text()
        assert code == 0, (commands[number], code, said)
        os.unlink(work / f"said {number}")


def test_rotations_in_place_pushes_and_readers_meet(cli: Cli, vault: Vault, tmp_path: Path) -> None:
    for number in range(3):
        write_folder(tmp_path / f"source {number}", number, files=3)
    cli("push", tmp_path / "source 0", "-t", "ds0:0.0.0", *vault.flags)
    for round_ in range(1, ROUNDS + 1):
        pushes: list[Words] = [
            ["push", tmp_path / f"source {n}", "-t", tag, *vault.flags]
            for n in range(3)
            for tag in (f"ds{n}:{round_}.0.0", f"both:{round_}.{n}.0")
        ]
        rotations: list[Words] = [["key", "rotate", *vault.flags] for _ in range(3)]
        readers: list[Words] = [["ls", "ds0", *vault.flags] for _ in range(2)]
        all_at_once(tmp_path, [*rotations, ["key", "rotate", "--data", *vault.flags], *pushes, *readers])
    assert len(vault.document()["encryption"]["data"]) == 1 + ROUNDS
    assert vault.document()["seq"] == 1 + 4 * ROUNDS
    found = cli.json("verify", "--deep", *vault.flags)
    assert found["ok"]
    assert {name: len(cli.json("ls", name, *vault.flags)["tags"]) for name in ("ds0", "ds1", "ds2", "both")} == {
        "ds0": ROUNDS + 1, "ds1": ROUNDS, "ds2": ROUNDS, "both": 3 * ROUNDS,
    }  # fmt: skip


def test_pushes_of_one_dataset_see_no_replay_where_there_is_none(cli: Cli, vault: Vault, tmp_path: Path) -> None:
    """A head may be read before another process writes, and be held against what was seen after it."""
    write_folder(tmp_path / "source", 1, files=1, size=2000)
    for round_ in range(ROUNDS):
        pushes: list[Words] = [
            ["push", tmp_path / "source", "-t", f"one:{round_}.{n}.0", *vault.flags] for n in range(8)
        ]
        readers: list[Words] = [["ls", "one", *vault.flags] for _ in range(3 if round_ else 0)]
        all_at_once(tmp_path, [*pushes, *readers])
    assert len(cli.json("ls", "one", *vault.flags)["tags"]) == 8 * ROUNDS


@pytest.mark.slow
def test_many_rotations_of_one_file_leave_one_key(cli: Cli, vault: Vault, tmp_path: Path) -> None:
    for _ in range(10):
        all_at_once(tmp_path, [["key", "rotate", *vault.flags] for _ in range(6)])
        cli("ls", *vault.flags)
    assert vault.document()["seq"] == 61
