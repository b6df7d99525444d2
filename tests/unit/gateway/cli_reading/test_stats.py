"""`aetherfs stats`: what it prints."""

from pathlib import Path

from tests.unit.gateway.test_cli import Cli


def test_the_store_is_shown_by_dataset(cli: Cli, two_versions: Path) -> None:
    lines = cli("stats").splitlines()
    assert lines[0].split() == ["dataset", "states", "logical", "unique", "stored", "ratio"]
    assert lines[1].split()[:2] == ["data", "2"]
    assert lines[2].startswith("all ")
    assert lines[3].startswith("2 packs take ")
    found = cli.json("stats")
    assert found["logical"] == found["datasets"][0]["logical"] == 1010 + 1513
    assert found["unique"] == 1000 + 10 + 1500 + 3


def test_a_dataset_is_shown_by_tag_with_its_worst_files(cli: Cli, two_versions: Path) -> None:
    found = cli.json("stats", "data")
    assert [sorted(state["tags"]) for state in found["states"]] == [["2.0.0", "latest"], ["1.0.0"]]
    assert (found["states"][0]["alone_unique"], found["states"][1]["alone_unique"]) == (1503, 1000)
    assert [(file["path"], file["reason"]) for file in found["worst"]] == [
        ("a.txt", "changed everywhere"),
        ("new", "new content"),
    ]
    assert "alone (stored)" in cli("stats", "data").splitlines()[0]


def test_an_empty_store_holds_nothing_and_no_such_dataset_is_not_found(cli: Cli) -> None:
    assert cli.json("stats")["datasets"] == []
    cli("stats", "none", exits=3)
    cli("stats", "No", exits=2)
