"""Eight writers at once, each a process: no update is lost, and every loser is told who won."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from store.objects.address import open_objects
from store.objects.local import FolderStore
from store.repository import Repository
from store.root import create_store
from tests.faults.steps import DATASET, write_folder
from tests.support.s3 import S3Place

ROOT = Path(__file__).resolve().parents[2]
WRITERS, ROUNDS = 8, 20
DEADLINE_S = 120.0


class Round(NamedTuple):
    """What one writer saw in one round."""

    code: int
    parent: str
    state: str
    said: str


@pytest.fixture(params=["folder", pytest.param("seaweed", marks=pytest.mark.s3)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        FolderStore(tmp_path / "store", create=True).close()
        address = str(tmp_path / "store")
    else:
        place: S3Place = request.getfixturevalue("seaweed_place")
        address = place.address
    objects = open_objects(address)
    create_store(objects)
    objects.close()
    return address


def run_writers(address: str, channel: str) -> list[list[Round]]:
    """Let all writers run against each other; return what each saw."""
    running = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.faults.writer", address, str(number), str(ROUNDS), channel],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(WRITERS)
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:  # all at once: each waits for the end of its input
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    said = [process.communicate(timeout=DEADLINE_S)[0] for process in running]
    assert [process.returncode for process in running] == [0] * WRITERS
    return [[Round(*json.loads(line)) for line in text.splitlines()] for text in said]


@pytest.mark.slow
def test_of_eight_writers_of_one_channel_every_winner_stays_and_every_loser_hears_who_won(address: str) -> None:
    rounds = [round_ for writer in run_writers(address, "latest") for round_ in writer]
    assert len(rounds) == WRITERS * ROUNDS
    objects = open_objects(address)
    history = [entry for entry in Repository.open(objects).catalogue.log(DATASET, "latest") if entry.content][::-1]
    objects.close()
    moves = [entry.content.manifest for entry in history if entry.content]
    won = {round_.state: round_.parent for round_ in rounds if round_.code == 0}
    assert sorted(moves) == sorted(won)  # each success once, and nothing else
    assert [won[state] for state in moves] == ["", *moves[:-1]]  # nobody overwrote what they had not seen
    lost = [round_ for round_ in rounds if round_.code]
    assert {round_.code for round_ in lost} <= {5}
    for round_ in lost:
        assert "by writer " in round_.said
        assert any(entry.operation in round_.said for entry in history)
    assert len(won) >= ROUNDS  # in each round that begins together somebody wins
    assert lost, "they never met: nothing was tested"


@pytest.mark.slow
def test_eight_writers_of_channels_of_their_own_all_succeed_every_time(address: str) -> None:
    writers = run_writers(address, "-")
    assert [(len(rounds), {round_.code for round_ in rounds}) for rounds in writers] == [(ROUNDS, {0})] * WRITERS
    objects = open_objects(address)
    catalogue = Repository.open(objects).catalogue
    assert len([*catalogue.log(DATASET)]) == WRITERS * ROUNDS
    for number, rounds in enumerate(writers):
        log = [entry.content.manifest for entry in catalogue.log(DATASET, f"own-{number}") if entry.content]
        assert log[::-1] == [round_.state for round_ in rounds]
    objects.close()


@pytest.mark.slow
def test_commands_that_push_at_once_end_with_0_or_with_5_naming_the_winner(address: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "AETHERFS_STORE": address, "LOGNAME": "alice"}
    running = []
    for number in range(WRITERS):
        folder = tmp_path / str(number)
        write_folder(folder, number, files=1, size=300_000)
        names = ["-t", f"{DATASET}:latest", "-t", f"{DATASET}:1.0.{number}", "--expect", "latest="]
        program = [sys.executable, "-P", "-m", "gateway.cli", "push", str(folder), "--json", *names]
        running.append(
            subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    ended = [(*process.communicate(timeout=DEADLINE_S), process.returncode) for process in running]
    winners = [json.loads(out) for out, _, code in ended if code == 0]
    assert [said for _, said, code in ended if code not in (0, 5)] == []
    assert len(winners) == 1
    for _, said, code in ended:
        if code == 5:
            assert winners[0]["manifest"][:15] in said
            assert "by alice" in said
            assert "Traceback" not in said
    objects = open_objects(address)
    tags = {tag.tag for tag in Repository.open(objects).catalogue.tags(DATASET)}
    objects.close()
    assert tags == set(winners[0]["tags"])
