"""Small files read by processes of their own become the same state as those that the push reads itself."""

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from store.errors import SourceUnusable
from store.objects.memory import MemoryStore
from store.push import readers
from store.push.ingest import Ingest
from store.push.push import Pushed, PushOptions, push
from store.push.upload import Uploader
from store.repository import Repository
from store.root import create_store
from store.workers import Worker, start

FILES = 200


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a folder: all sorts of small files, some alike, and a large one."""
    folder = tmp_path / "source"
    folder.mkdir()
    random_bytes = random.Random(5).randbytes
    for number in range(FILES):
        (folder / f"{number:03}").write_bytes(random_bytes(number * 37))
    (folder / "again").write_bytes((folder / "100").read_bytes())
    (folder / "text").write_bytes(b"text " * 9999)
    (folder / "zeros").write_bytes(bytes(300 << 10))
    (folder / "chunks").write_bytes(random_bytes(900 << 10))
    (folder / "large").write_bytes(random_bytes(3 << 20))
    (folder / os.fsdecode(b"odd \xff\n")).write_bytes(b"odd")
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Every process that is started, from one file on."""
    found: list[Worker] = []

    def noted(*given: Any) -> Worker:
        found.append(start(*given))
        return found[-1]

    monkeypatch.setattr(readers, "start", noted)
    monkeypatch.setattr("store.push.push.MANY", 1)
    return found


def pushed(source: Path, state: str, options: PushOptions | None = None) -> Pushed:
    objects = MemoryStore()
    create_store(objects)
    return push(Repository.open(objects), source, "d", ["v1.0.0"], source.parent / state, options)


def test_the_state_is_the_same_and_as_much_is_new(
    source: Path, started: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pushed(source, "there")
    assert started
    assert [worker.process.returncode for worker in started] == [0] * len(started)
    before = len(started)
    monkeypatch.setattr("store.push.push.MANY", 1 << 30)
    here = pushed(source, "here")
    assert len(started) == before
    assert (there.manifest, there.bytes_new, there.bytes_stored) == (here.manifest, here.bytes_new, here.bytes_stored)


def test_a_process_that_is_killed_is_done_without(
    source: Path, started: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pushed(source, "one").manifest
    real = readers.Readers.read

    def killing(self: readers.Readers, paths: list[bytes]) -> Any:
        for worker in self._all:
            worker.process.kill()
            worker.process.wait()
        return real(self, paths)

    monkeypatch.setattr(readers.Readers, "read", killing)
    assert pushed(source, "two").manifest == expected


@pytest.mark.parametrize("broken", ["start", "program"])
def test_where_no_process_begins_the_push_reads_itself(
    source: Path, started: list[Worker], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pushed(source, "one").manifest

    def refused(*given: Any) -> Worker:
        raise BlockingIOError("no more processes")

    if broken == "start":
        monkeypatch.setattr(readers, "start", refused)
    else:
        monkeypatch.setattr(readers, "_PROGRAM", "import no_such_module")
    assert pushed(source, "two").manifest == expected


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_are_gone_before_they_are_told_anything_are_done_without(
    source: Path, started: list[Worker], processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pushed(source, "one").manifest

    def gone(*given: Any) -> Worker:
        worker = start(*given)
        worker.process.kill()
        worker.process.wait()
        return worker

    monkeypatch.setattr(readers, "start", gone)
    monkeypatch.setattr(readers, "count", lambda: processes)
    assert pushed(source, "two").manifest == expected


def test_what_a_process_can_not_read_is_said(source: Path, started: list[Worker]) -> None:
    os.symlink("nowhere", source / "link")
    (source / "gone").write_text("soon")
    real = Ingest.read

    def removing(self: Any, files: Any) -> Any:
        (source / "gone").unlink(missing_ok=True)
        return real(self, files)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Ingest, "read", removing)
        with pytest.raises(SourceUnusable, match="gone"):
            pushed(source, "one")
    assert all(isinstance(worker.process.returncode, int) for worker in started)


def test_the_processes_end_with_the_push_that_is_interrupted(
    source: Path, started: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Uploader, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pushed(source, "one")
    assert started
    for worker in started:
        assert worker.process.wait(0) == 0


def test_a_process_ends_when_its_caller_does() -> None:
    worker = start(readers._PROGRAM)
    worker.line.close()
    try:
        assert worker.process.wait(30) == 0
    except subprocess.TimeoutExpired:
        worker.process.kill()
        raise
