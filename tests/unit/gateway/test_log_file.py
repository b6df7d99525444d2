"""Files of lines that several processes share, and that are moved away, cut, or do not fit the disk."""

import contextlib
import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.access.audit import LOGIN, OK, Audit
from gateway.log_file import LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


@contextlib.contextmanager
def full_at(size: int) -> Iterator[None]:
    """Have the system take no file beyond so many bytes, as a full disk would (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_disk_cut_off_is_ended_before_the_next_line_whoever_writes_it(path: Path) -> None:
    with closing(LogFile(str(path), 0o600)) as one, closing(LogFile(str(path), 0o600)) as other:
        one.add(b"first\n")
        with full_at(10):
            with pytest.raises(OSError, match="large"):
                one.add(b"cut off\n")
            with pytest.raises(OSError, match="large"):
                other.add(b"nothing of this\n")
        other.add(b"second\n")
        one.add(b"third\n")
    assert path.read_bytes() == b"first\ncut \nsecond\nthird\n"


def test_an_event_that_could_not_be_written_stands_in_the_log_and_spoils_no_other(path: Path) -> None:
    with closing(Audit(str(path))) as audit, capture_logs() as logs:
        with full_at(20):
            audit.note(LOGIN, OK, principal="user:ada", address="192.0.2.1")
        audit.note(LOGIN, OK, principal="user:bob", address="192.0.2.1")
    assert json.loads(logs[0]["line"])["principal"] == "user:ada"
    assert logs[0]["path"] == str(path)
    assert json.loads(path.read_text().splitlines()[1])["principal"] == "user:bob"


def test_a_file_that_is_moved_away_or_removed_is_begun_anew_and_one_that_is_cut_goes_on(path: Path) -> None:
    with closing(LogFile(str(path), 0o640)) as file:
        file.add(b"one\n")
        path.rename(path.with_suffix(".1"))
        file.add(b"two\n")
        assert path.with_suffix(".1").read_bytes() == b"one\n"
        os.truncate(path, 0)  # copytruncate
        file.add(b"three\n")
        assert path.read_bytes() == b"three\n"
        assert path.stat().st_mode & 0o777 == 0o640
        path.unlink()
        file.add(b"four\n")
        assert path.read_bytes() == b"four\n"


def test_where_no_new_file_can_be_made_that_is_told_and_tried_again(path: Path) -> None:
    with closing(LogFile(str(path), 0o600)) as file:
        path.unlink()
        path.mkdir()
        with pytest.raises(OSError, match="directory"):
            file.add(b"lost\n")
        path.rmdir()
        file.add(b"kept\n")
    assert path.read_bytes() == b"kept\n"


def test_a_pipe_that_somebody_reads_will_do(path: Path) -> None:
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with closing(LogFile(str(path), 0o600)) as file:
        file.add(b"one\n")
        file.add(b"two\n")
    reader.join(20)
    assert got == [b"one\ntwo\n"]
