import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import (
    BadName,
    ConditionsIgnored,
    ObjectMissing,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreUnavailable,
)
from store.objects import local, local_files
from store.objects.local import FolderStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root, create=True)


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_the_folders_layout_is_the_keys(store: FolderStore, root: Path) -> None:
    store.put("datasets/0f/@geo/maps", b"1")
    store.put_if("aetherfs.json", b"{}", match=None)
    assert (root / "datasets/0f/@geo/maps").read_bytes() == b"1"
    assert (root / "aetherfs.json").read_bytes() == b"{}"
    assert list((root / ".tmp").iterdir()) == []


def test_files_of_the_store_itself_and_strangers_are_never_listed(store: FolderStore, root: Path) -> None:
    store.put("a", b"1")
    (root / ".hidden").write_bytes(b"")
    (root / "ä").write_bytes(b"")
    (root / "link").symlink_to("a")
    os.mkfifo(root / "pipe")
    assert [info.key for info in store.list("")] == ["a"]


@pytest.mark.parametrize("step", ["write_file", "flush_folder"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_the_old_object_or_the_new_stays_whole(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    store.put("a", b"old")
    monkeypatch.setattr(local, step, failing(code))
    with pytest.raises(StoreFull, match=r"\(\d+ bytes are free\)"):
        store.put("a", b"new")
    monkeypatch.undo()
    assert store.get("a") in (b"old", b"new")
    assert list((root / ".tmp").iterdir()) == []


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
def test_a_crash_at_any_system_call_leaves_the_old_object_or_the_new(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A crash ends the process: nothing that would tidy up runs, so tidying up is made to fail too."""
    FolderStore(root, create=True).put("folder/a", b"old")
    store = FolderStore(root)
    left = [step]

    class Crashed(BaseException):
        """Nobody catches it."""

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if left[0] == 0:
                raise Crashed
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    for name in ("open", "write", "fsync", "replace", "unlink", "mkdir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    crashed = False
    try:
        store.put("folder/a", b"new!")
    except Crashed:
        crashed = True
    monkeypatch.undo()
    assert crashed or left[0] > 0
    again = FolderStore(root)
    held = again.fetch("folder/a")
    assert held is not None
    assert held.data in ((b"old", b"new!") if crashed else (b"new!",))
    again.put_if("folder/a", b"next", match=held.etag)
    assert [info.key for info in again.list("")] == ["folder/a"]


def test_a_conditional_write_that_the_disk_did_not_confirm_has_an_unknown_outcome(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = store.put("a", b"1")
    store.put("b", b"1")
    monkeypatch.setattr(local, "flush_folder", failing(errno.EIO))
    with pytest.raises(OutcomeUnknown):
        store.put_if("a", b"2", match=etag)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.EACCES, StoreDenied),
        (errno.EPERM, StoreDenied),
        (errno.EROFS, StoreDenied),
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.ENAMETOOLONG, BadName),
    ],
)
def test_the_systems_errors_become_the_stores(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, code: int, error: type[StoreError]
) -> None:
    monkeypatch.setattr(local, "write_file", failing(code))
    with pytest.raises(error):
        store.put("a", b"1")


def test_an_object_below_an_object_is_refused_by_name(store: FolderStore) -> None:
    store.put("a", b"1")
    with pytest.raises(BadName):
        store.put("a/b", b"1")
    store.put("c/d", b"1")
    with pytest.raises(BadName):
        store.put("c", b"1")
    assert sorted(info.key for info in store.list("")) == ["a", "c/d"]


def test_a_folder_that_went_away_is_a_missing_store_and_is_not_made_again(store: FolderStore, root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b"1"),
        lambda: store.put_if("a", b"1", match=None),
        lambda: list(store.list("")),
    ):
        with pytest.raises(StoreMissing):
            call()
    assert not root.exists()


def test_folders_that_somebody_tidied_away_are_made_again(store: FolderStore, root: Path) -> None:
    store.put("x/y/a", b"1")
    (root / "x/y/a").unlink()
    for gone in ("x/y", "x", ".tmp"):
        (root / gone).rmdir()
    store.put("x/y/a", b"2")
    assert store.get("x/y/a") == b"2"


def test_only_old_leftovers_are_swept(root: Path) -> None:
    (root / ".tmp").mkdir(parents=True)
    old, new = root / ".tmp/old", root / ".tmp/new"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = os.stat(new).st_mtime - local.ABANDONED_S - 60
    os.utime(old, (long_ago, long_ago))
    FolderStore(root).put("a", b"1")
    assert not old.exists()
    assert new.exists()


def test_many_objects_share_a_bounded_number_of_lock_files(store: FolderStore, root: Path) -> None:
    for number in range(600):
        store.delete(f"never/was/{number}")
    assert len(list((root / ".lock").iterdir())) <= 256


def test_a_lock_that_is_never_released_is_an_error_after_a_while(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"1")
    lock = next((root / ".lock").iterdir())
    monkeypatch.setattr(local_files, "LOCK_WAIT_S", 0.0)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with local_files.locked(str(lock), "x"):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    try:
        with pytest.raises(StoreUnavailable, match="holds a lock"):
            store.put_if("a", b"2", match=None)
    finally:
        done.set()
        holder.join()
    assert store.get("a") == b"1"


def test_a_file_system_without_locks_takes_no_write(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    with pytest.raises(ConditionsIgnored):
        store.put_if("a", b"1", match=None)
    with pytest.raises(ObjectMissing):
        store.get("a")


def test_reads_and_writes_go_on_where_the_system_moves_less_than_asked(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "_MOST", 7)
    data = bytes(range(100))
    store.put("a", data)
    assert store.get("a") == data
    assert store.get("a", offset=3, size=50) == data[3:53]
    assert store.tail("a", 20) == (data[80:], 100)


def test_an_object_opened_before_it_was_replaced_is_read_whole(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"old" * 10)
    real = os.fstat

    def replaced_after(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if stat.S_ISREG(status.st_mode):
            monkeypatch.undo()
            store.put("a", b"n")
        return status

    monkeypatch.setattr(os, "fstat", replaced_after)
    assert store.get("a") == b"old" * 10
    assert store.get("a") == b"n"


def test_files_are_made_with_the_rights_that_the_umask_leaves(store: FolderStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        store.put("a", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o640


def test_bytes_are_on_the_disk_before_their_name_and_the_name_before_success(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("folder/a", b"old")
    steps: list[str] = []
    names: dict[int, str] = {}
    real_open, real_fsync, real_replace = os.open, os.fsync, os.replace

    def opened(path: str, *args: int, **kwargs: int) -> int:
        descriptor = real_open(path, *args, **kwargs)
        names[descriptor] = os.path.relpath(path, root).partition("-")[0]
        return descriptor

    def flushed(descriptor: int) -> None:
        steps.append(f"flush {names[descriptor]}")
        real_fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        steps.append(f"rename to {os.path.relpath(new, root)}")
        real_replace(old, new)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    store.put("folder/a", b"new")
    assert steps == [f"flush .tmp/{os.getpid()}", "rename to folder/a", "flush folder"]


def test_a_new_folders_own_entry_is_flushed_even_if_another_process_made_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "x/y").mkdir(parents=True)
    flushed: list[str] = []
    real = local_files.flush_folder

    def flush(path: str) -> None:
        flushed.append(os.path.relpath(path, root))
        real(path)

    monkeypatch.setattr(local, "flush_folder", flush)
    store = FolderStore(root)
    store.put("x/y/a", b"1")
    assert {".", "x", "x/y"} <= set(flushed)
    flushed.clear()
    store.put("x/y/b", b"1")
    assert flushed == ["x/y"]
