"""The calls that take data to the disk, and what is done where the system has none."""

import ctypes
import os
import sys
from pathlib import Path

import pytest

from store.pull import flush
from store.pull.flush import start_writing, sync_file_system


def test_a_file_system_is_synced_where_linux_has_the_call(tmp_path: Path) -> None:
    assert sync_file_system(os.fsencode(tmp_path)) == hasattr(ctypes.CDLL(None), "syncfs")


def test_without_the_calls_a_sync_says_no_and_a_hint_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush._function.cache_clear()
    monkeypatch.setattr(sys, "platform", "plan9")
    path = tmp_path / "file"
    path.write_bytes(b"content")
    try:
        assert not sync_file_system(os.fsencode(tmp_path))
        with path.open("r+b") as file:
            start_writing(file.fileno())
    finally:
        flush._function.cache_clear()
    assert path.read_bytes() == b"content"


def test_a_hint_for_no_open_file_raises_nothing(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.close(descriptor)
    start_writing(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
