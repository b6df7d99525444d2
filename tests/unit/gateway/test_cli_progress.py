"""Progress: on a terminal, on stderr, and nowhere else. And what log lines look like."""

import io
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog

from gateway import logs
from gateway.cli.progress import Reading, shown

PROJECT = Path(__file__).parents[3]
PROGRAM = """
from gateway.cli.progress import Reading, shown
with shown(lambda: Reading("reading", 512, 1024, "new 7 B"), wanted=True):
    pass
print("result")
"""


def test_a_terminal_is_shown_phase_and_counts_on_stderr_alone() -> None:
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=PROJECT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 65536).decode(errors="replace")
    os.close(ours)
    assert done.stdout == b"result\n"
    assert "reading" in drawn
    assert "new 7 B" in drawn


def test_progress_takes_one_line_on_a_narrow_terminal() -> None:
    ours, theirs = os.openpty()
    subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("new 7 B", "new 75.0 MiB, reused 117.0 MiB, uploaded 75.0 MiB")],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=PROJECT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 65536).decode(errors="replace")
    os.close(ours)
    assert "reading" in drawn
    assert drawn.count("\x1b[1A") == 1  # one move up, at the end, wipes it all: more lines would take more


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_is_read_or_drawn_off_a_terminal(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    asked = threading.Event()

    def read() -> Reading:
        asked.set()
        return Reading("", 0, 0, "")

    with shown(read, wanted=wanted):
        pass
    assert err.getvalue() == ""
    assert not asked.is_set()


def test_events_and_their_fields_become_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    try:
        logs.set_up(logging.INFO)
        structlog.get_logger("aetherfs.test").warning("100 % lost", peer="a b", count=2)
        structlog.get_logger("aetherfs.test").debug("not said")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    (line,) = err.getvalue().splitlines()
    assert "WARNING aetherfs.test" in line
    assert line.endswith("100 % lost peer='a b' count=2")
