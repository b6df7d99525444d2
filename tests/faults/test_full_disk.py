"""No space left, in the store or where a pull writes: a clear end, nothing half-done, and on once there is room."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.exits import exit_code
from store.errors import StoreFull
from store.layout import PACKS
from store.objects.local import FolderStore
from store.pull.pull import pull
from store.repository import Repository
from store.root import create_store
from tests.faults.steps import publish, small_packs, write_folder
from tests.support.folders import held, latest

ROOM = 3 << 20  # bytes of the small file system


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs root, to mount a small tmpfs: run the tests as root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_push_into_a_full_store_publishes_nothing_and_the_next_one_sends_the_rest(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_packs(monkeypatch)
    objects = FolderStore(small / "store", create=True)
    create_store(objects)
    write_folder(tmp_path / "old", 1)
    first = publish(objects, tmp_path / "old", tmp_path / "state", "latest")
    filler = small / "filler"
    filler.write_bytes(bytes(ROOM - (1400 << 10)))
    write_folder(tmp_path / "new", 2, files=12)
    with pytest.raises(StoreFull) as caught:
        publish(objects, tmp_path / "new", tmp_path / "state", "latest")
    assert str(small / "store") in str(caught.value)
    assert exit_code(caught.value) == 7
    repository = Repository.open(objects)
    assert latest(repository).manifest == first.manifest
    assert not [path for path in (small / "store" / ".tmp").iterdir() if path.is_file()]
    pull(repository, latest(repository), tmp_path / "dest", tmp_path / "state")
    assert held(tmp_path / "dest") == held(tmp_path / "old")
    there = len([*objects.list(PACKS)])
    filler.unlink()
    again = publish(objects, tmp_path / "new", tmp_path / "state", "latest")
    assert again.changed
    assert 0 < again.bytes_new < again.size
    assert len([*objects.list(PACKS)]) > there


def test_a_pull_onto_a_full_disk_changes_nothing_and_goes_on_once_there_is_room(small: Path, tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "store", create=True)
    create_store(objects)
    write_folder(tmp_path / "data", 1)
    publish(objects, tmp_path / "data", tmp_path / "state", "latest")
    repository = Repository.open(objects)
    pull(repository, latest(repository), small / "dest", tmp_path / "state")
    write_folder(tmp_path / "data", 2, files=12)
    publish(objects, tmp_path / "data", tmp_path / "state", "latest")
    before = held(small / "dest")
    filler = small / "filler"
    filler.write_bytes(bytes(ROOM - (1400 << 10)))
    with pytest.raises(StoreFull) as caught:
        pull(repository, latest(repository), small / "dest", tmp_path / "state")
    assert str(small / "dest") in str(caught.value)
    assert held(small / "dest") == before
    filler.unlink()
    done = pull(repository, latest(repository), small / "dest", tmp_path / "state")
    assert held(small / "dest") == held(tmp_path / "data")
    assert done.bytes_reused > 0


@pytest.mark.parametrize("what", ["state", "cache", "result"])
def test_no_room_beside_the_store_is_done_without_or_told_with_7(small: Path, tmp_path: Path, what: str) -> None:
    store = tmp_path / "store"
    objects = FolderStore(store, create=True)
    create_store(objects)
    write_folder(tmp_path / "data", 1)
    publish(objects, tmp_path / "data", tmp_path / "state", "latest")
    (small / "filler").write_bytes(bytes(ROOM - (16 << 10)))  # the last pages go to folders and names
    with open(small / "rest", "wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))
    named = {"state": "XDG_STATE_HOME", "cache": "XDG_CACHE_HOME"}
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "AETHERFS_STORE": str(store)}
    if what in named:
        environment[named[what]] = str(small)
    write_folder(tmp_path / "data", 2)
    command = ["cat", "ds:latest/file 0"] if what == "result" else ["push", str(tmp_path / "data"), "-t", "ds:new"]
    with open(small / "out" if what == "result" else os.devnull, "wb") as out:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "gateway.cli", *command],
            env=environment, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert "Traceback" not in ended.stderr
    assert "mistake of ours" not in ended.stderr
    tags = {tag.tag for tag in Repository.open(objects).catalogue.tags("ds")}
    if what != "result":  # the others only save time
        assert (ended.returncode, tags) == (0, {"latest", "new"}), ended.stderr
    else:
        assert (ended.returncode, tags) == (7, {"latest"}), ended.stderr
        assert "no space left" in ended.stderr


@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_limit_on_file_sizes_is_told_at_once_and_nothing_half_done_stays(tmp_path: Path, command: str) -> None:
    objects = FolderStore(tmp_path / "store", create=True)
    create_store(objects)
    write_folder(tmp_path / "data", 1, files=1, size=2_000_000)
    publish(objects, tmp_path / "data", tmp_path / "state", "old")
    (tmp_path / "data" / "more").write_bytes(os.urandom(2_000_000))
    words = {"push": [str(tmp_path / "data"), "-t", "ds:new"], "pull": ["ds:old", str(tmp_path / "dest")]}[command]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "gateway.cli", command, *words],
        env={**os.environ, "HOME": str(tmp_path / "home"), "AETHERFS_STORE": str(tmp_path / "store")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 7, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "trying again" not in ended.stderr
    assert str(tmp_path / ("store" if command == "push" else "dest")) in ended.stderr
    assert {tag.tag for tag in Repository.open(objects).catalogue.tags("ds")} == {"old"}
    assert not (tmp_path / "dest").exists()
