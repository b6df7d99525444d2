"""`aetherfs diff`: what it prints."""

import json
import os
from pathlib import Path

from tests.unit.gateway.test_cli import Cli


def test_lines_name_each_difference_and_the_summary_counts_them(cli: Cli, two_versions: Path) -> None:
    lines = cli("diff", "data:1.0.0", "data:2.0.0").splitlines()
    assert lines[:4] == [
        "M a.txt  (content, 1000 B -> 1.5 KiB)",
        "- link",
        "+ new  3 B",
        "M sub/run  (executable)",
    ]
    assert lines[4].startswith("1 added (3 B), 1 removed (0 B), 2 changed (1.5 KiB of files with new content), ")
    assert lines[5].startswith("the second needs 2 chunks that the first has not: 1.5 KiB, ")


def test_stat_prints_the_summary_alone(cli: Cli, two_versions: Path) -> None:
    assert len(cli("diff", "data:1.0.0", "data:2.0.0", "--stat").splitlines()) == 2


def test_entries_with_another_time_alone_are_listed_only_when_asked_for(cli: Cli, two_versions: Path) -> None:
    assert "\nt " not in "\n" + cli("diff", "data:1.0.0", "data:2.0.0")
    assert "t .\n" in cli("diff", "data:1.0.0", "data:2.0.0", "--times")


def test_json_is_one_document_with_everything(cli: Cli, two_versions: Path) -> None:
    found = cli.json("diff", "data:1.0.0", "data")
    assert (found["before"]["tag"], found["after"]["tag"]) == ("1.0.0", "latest")
    by_path = {entry["path"]: entry for entry in found["differences"]}
    assert set(by_path) == {"", "a.txt", "link", "new", "sub/run"}
    assert by_path["a.txt"]["before"]["size"] == 1000
    assert by_path["new"]["before"] is None
    assert by_path["link"]["before"]["target"] == "a.txt"
    assert (found["summary"]["added"], found["summary"]["removed"], found["summary"]["changed"]) == (1, 1, 2)
    assert (found["entries"], found["needed"]["plain"]) == ({"before": 4, "after": 4}, 1503)


def test_a_state_does_not_differ_from_itself(cli: Cli, two_versions: Path) -> None:
    found = cli.json("diff", "data:2.0.0", "data:latest")
    assert (found["differences"], found["needed"]) == ([], {"chunks": 0, "plain": 0, "stored": 0})


def test_a_reference_to_nothing_is_not_found_and_prints_nothing(cli: Cli, two_versions: Path) -> None:
    assert cli("diff", "data:1.0.0", "data:3.0.0", "--json", exits=3) == ""


def test_names_that_are_no_text_are_told_exactly_beside(cli: Cli, two_versions: Path) -> None:
    (two_versions / os.fsdecode(b"odd\xff\n")).write_bytes(b"")
    cli("push", two_versions, "-t", "data:3.0.0")
    assert "+ odd\\xff\\n  0 B" in cli("diff", "data:2.0.0", "data:3.0.0").splitlines()
    out = cli("diff", "data:2.0.0", "data:3.0.0", "--json")
    added = next(entry for entry in json.loads(out)["differences"] if entry["what"] == "added")
    assert (added["path"], added["path_quoted"]) == ("odd\ufffd\n", "odd%FF%0A")
