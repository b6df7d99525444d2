"""What is read anew when it changes: a change is seen, what can't be used leaves the one before, and is told once."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.access import current as module
from gateway.access.current import Current, Watch, WatchedFile
from gateway.config import ConfigError
from store.errors import StoreUnavailable

LATER_NS = 60 * 10**9  # so long after a write that the file counts as settled


class Source:
    """Bytes that change when told, and that may fail."""

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data
        self.error: Exception | None = None

    def fetch(self) -> bytes | None:
        if self.error is not None:
            raise self.error
        data, self.data = self.data, None
        return data


def number(data: bytes) -> int:
    try:
        return int(data)
    except ValueError as error:
        raise ConfigError(f"{data!r} is no number") from error


def test_a_new_value_is_taken_and_counted() -> None:
    source = Source(b"1")
    current = Current("the number", source.fetch, number)
    assert (current.value, current.generation) == (1, 1)
    assert not current.refresh()
    source.data = b"2"
    assert current.refresh()
    assert (current.value, current.generation) == (2, 2)


def test_the_first_value_has_to_be_usable() -> None:
    with pytest.raises(ConfigError, match="is no number"):
        Current("the number", Source(b"x").fetch, number)


def test_what_cannot_be_used_leaves_the_one_before_and_is_told_once_until_it_can() -> None:
    source = Source(b"1")
    current = Current("the number", source.fetch, number)
    with capture_logs() as logs:
        for bad in (b"x", None, None):
            source.data = bad
            assert not current.refresh()
        assert [(line["log_level"], line["why"]) for line in logs] == [("error", "b'x' is no number")]
        source.data = b"y"
        current.refresh()
        assert len(logs) == 2  # other words: told too
        source.data = b"3"
        assert current.refresh()
        assert [line["event"] for line in logs[2:]] == ["the number can be used again", "the number was read anew"]
    assert (current.value, current.generation) == (3, 2)


def test_a_source_that_is_away_is_told_once_and_that_it_is_back() -> None:
    source = Source(b"1")
    current = Current("the number", source.fetch, number)
    source.error = StoreUnavailable("s3://x", "no answer")
    with capture_logs() as logs:
        assert not current.refresh()
        assert not current.refresh()
        source.error = None
        assert not current.refresh()
    assert [line["log_level"] for line in logs] == ["error", "warning"]
    assert (current.value, current.generation) == (1, 1)


def test_a_watch_calls_on_until_it_is_closed_whatever_happens() -> None:
    calls, three = [0], threading.Event()

    def refresh() -> None:
        calls[0] += 1
        if calls[0] == 3:
            three.set()
        raise RuntimeError("a mistake of ours")

    with capture_logs() as logs:
        watch = Watch(refresh, 0.001)
        assert three.wait(60)
        watch.close()
    assert logs[0]["event"] == "could not be looked after"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(0o600)
    return path


def watched(path: Path, *, later: bool = True, limit: int = 100) -> WatchedFile:
    return WatchedFile(path, "the file", limit=limit, clock_ns=lambda: time.time_ns() + LATER_NS * later)


def replaced(path: Path) -> None:
    coming = path.with_name("coming")
    coming.write_bytes(b"two")
    coming.chmod(0o600)
    coming.replace(path)


@pytest.mark.parametrize(
    "change",
    [replaced, lambda path: path.write_bytes(b"two"), lambda path: path.write_bytes(b"longer")],
    ids=["replaced", "written", "longer"],
)
def test_a_change_is_seen_and_seen_once(file: Path, change: Callable[[Path], object]) -> None:
    one = watched(file)
    assert one.read() == b"one"
    assert one.read() is None
    change(file)
    assert one.read() == file.read_bytes()
    assert one.read() is None


@pytest.mark.parametrize(("later", "found"), [(False, b"two"), (True, None)])
def test_a_fresh_file_is_read_whatever_it_looks_like(
    file: Path, later: bool, found: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within one tick of the file system's clock leave the same size and times."""
    monkeypatch.setattr(module, "_look", lambda status: "always the same")
    one = watched(file, later=later)
    assert one.read() == b"one"
    file.write_bytes(b"two")
    assert one.read() == found


def test_a_file_that_was_touched_alone_has_not_changed(file: Path) -> None:
    one = watched(file)
    assert one.read() == b"one"
    os.utime(file)
    assert one.read() is None


def test_a_settled_file_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = watched(file)
    assert one.read() == b"one"
    monkeypatch.setattr(one, "_read", lambda: pytest.fail("read"))
    assert one.read() is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused_also_when_it_becomes_so(file: Path, mode: int) -> None:
    one = watched(file)
    assert one.read() == b"one"
    file.chmod(mode)
    for reader in (one, watched(file)):
        with pytest.raises(ConfigError, match="chmod go-w"):
            reader.read()
    file.chmod(0o644)
    assert one.read() is None
    assert watched(file).read() == b"one"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away; run as root")
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 4321, -1)
    with pytest.raises(ConfigError, match="belongs to user number 4321"):
        watched(file).read()


def test_what_is_missing_large_or_no_file_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        watched(tmp_path / "other").read()
    with pytest.raises(ConfigError, match="larger than 2 bytes"):
        watched(file, limit=2).read()
    os.mkfifo(tmp_path / "pipe", 0o600)
    for odd in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=r"is no file|Is a directory"):
            watched(odd).read()


def test_a_file_that_comes_back_as_it_was_has_not_changed(file: Path) -> None:
    one = watched(file)
    assert one.read() == b"one"
    file.unlink()
    with pytest.raises(ConfigError):
        one.read()
    file.write_bytes(b"one")
    file.chmod(0o600)
    assert one.read() is None
    file.write_bytes(b"two")
    assert one.read() == b"two"
