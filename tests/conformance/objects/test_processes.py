"""Conditional writes hold between processes, and a writer that is killed holds up nobody."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store.objects.address import open_objects
from store.objects.local import FolderStore
from tests.support.s3 import S3Place

PROCESSES, TIMES = 4, 25


@pytest.fixture(params=["folder", pytest.param("seaweed", marks=pytest.mark.s3)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        FolderStore(tmp_path / "objects", create=True).close()
        return str(tmp_path / "objects")
    place: S3Place = request.getfixturevalue("seaweed_place")
    return place.address


def counter(address: str, times: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.objects.counting", address, "counter", str(times)],
        cwd=Path(__file__).resolve().parents[3],
    )


def test_processes_that_count_with_conditional_writes_lose_nothing(address: str) -> None:
    running = [counter(address, TIMES) for _ in range(PROCESSES)]
    assert [process.wait(timeout=120) for process in running] == [0] * PROCESSES
    store = open_objects(address)
    assert store.get("counter") == str(PROCESSES * TIMES).encode()
    store.close()


def test_a_writer_killed_at_any_moment_leaves_a_whole_object_and_no_lock(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    store = FolderStore(root, create=True)
    for _ in range(5):
        before = int(store.get("counter")) if [*store.list("counter")] else 0
        endless = counter(str(root), 10**9)
        while not [*store.list("counter")] or int(store.get("counter")) < before + 5:
            assert endless.poll() is None
        endless.send_signal(signal.SIGKILL)
        endless.wait(timeout=30)
        seen = int(store.get("counter"))
        held = store.fetch("counter")
        assert held is not None
        store.put_if("counter", str(seen + 1).encode(), match=held.etag)
        assert int(store.get("counter")) == seen + 1
    assert [info.key for info in store.list("")] == ["counter"]
    store.close()
