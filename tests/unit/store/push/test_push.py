"""What a push reads, uploads and refuses."""

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import PathMissing, SourceChanged, SourceUnusable, StoreUnavailable, TagExists, TagMoved
from store.index import INDEX
from store.layout import MANIFESTS, PACKS
from store.objects.base import ObjectStore
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.pull.pull import pull
from store.push import reader, unchanged
from store.push.push import PushCounters, Pushed, PushOptions, push
from store.push.source import identity
from store.repository import Repository
from tests.support.deletion import Deletion, Rules
from tests.support.folders import OLD_NS, Failing, held, latest, new_repository


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class Bench:
    """A folder to publish and a store whose packs' uploads can fail."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.memory = MemoryStore()
        self.objects = Failing(self.memory, method="put", only=PACKS)
        self.repository = new_repository(self.objects)
        self.source = tmp_path / "source"
        self.source.mkdir()

    def push(
        self, *tags: str, dataset: str = "ds", source: Path | None = None, options: PushOptions | None = None
    ) -> Pushed:
        """Publish, with what an earlier process remembered, and with nothing kept in memory."""
        repository = Repository.open(self.objects)
        return push(repository, source or self.source, dataset, tags or ("latest",), self.tmp_path / "state", options)

    def arrives(self) -> Path:
        """Pull what `latest` names and return where to."""
        dest = self.tmp_path / "dest"
        pull(self.repository, latest(self.repository), dest, self.tmp_path / "pull-state")
        return dest

    def keys(self, prefix: str) -> set[str]:
        return {info.key for info in self.memory.list(prefix)}


class Unhurried(Wrapper):
    """A store for a deletion that has nothing to wait for."""

    def wait(self, prefix: str, ready: Callable[[ObjectStore], bool]) -> None:
        assert ready(self)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def opened(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every file that is opened for reading by a push, as it happens."""
    found: list[bytes] = []
    source = os.fsencode(bench.source)
    real = reader.open_regular

    def noted(path: bytes) -> int:
        found.append(os.path.relpath(path, source))
        return real(path)

    monkeypatch.setattr(reader, "open_regular", noted)
    return found


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files just written count as long at rest: the time that files must have settled for lies in the future."""
    monkeypatch.setattr(unchanged, "SETTLED_NS", -(10**12))


# little is uploaded and read


def test_nothing_is_uploaded_twice(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(2 << 20))
    first = bench.push()
    packs = bench.keys(PACKS)
    again = bench.push(options=PushOptions(reread=True))
    assert (first.bytes_new, again.bytes_new, again.bytes_stored) == (2 << 20, 0, 0)
    assert bench.keys(PACKS) == packs
    assert not again.changed
    assert again.manifest == first.manifest


def test_equal_content_within_a_push_is_uploaded_once(bench: Bench) -> None:
    for name in "abc":
        (bench.source / name).write_bytes(noise(3 << 20))
    pushed = bench.push()
    assert (pushed.bytes_new, pushed.bytes_reused) == (3 << 20, 6 << 20)


def test_a_local_edit_uploads_few_bytes(bench: Bench) -> None:
    data = noise(8 << 20)
    (bench.source / "file").write_bytes(data)
    bench.push()
    (bench.source / "file").write_bytes(data[: 4 << 20] + b"inserted" + data[4 << 20 :])
    assert 0 < bench.push().bytes_new < 1 << 20


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_not_opened_again(bench: Bench, opened: list[bytes]) -> None:
    for name in ("small", "changes"):
        (bench.source / name).write_bytes(noise(1000))
    (bench.source / "large").write_bytes(noise(3 << 20, 1))
    bench.push()
    assert sorted(opened) == [b"changes", b"large", b"small"]
    opened.clear()
    (bench.source / "changes").write_bytes(noise(1000, 5))
    bench.push()
    assert opened == [b"changes"]
    assert held(bench.arrives()) == held(bench.source)


@pytest.mark.usefixtures("settled")
def test_a_change_with_the_time_set_back_is_seen(bench: Bench, opened: list[bytes]) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    os.utime(bench.source / "file", ns=(OLD_NS, OLD_NS))
    first = bench.push()
    opened.clear()
    (bench.source / "file").write_bytes(noise(1000, 1))
    os.utime(bench.source / "file", ns=(OLD_NS, OLD_NS))
    assert bench.push().manifest != first.manifest
    assert opened == [b"file"]


@pytest.mark.usefixtures("settled")
def test_a_folder_that_is_as_it_was_costs_no_file_and_no_pack(bench: Bench, opened: list[bytes]) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    (bench.source / "empty").mkdir()
    first = bench.push()
    opened.clear()
    counters = PushCounters()
    repository = Repository.open(bench.objects)
    again = push(repository, bench.source, "ds", ["1.0.0"], bench.tmp_path / "state", counters=counters)
    assert (opened, again.puts) == ([], 2), "head and hint"
    assert (again.manifest, again.entries, again.files, again.size) == (first.manifest, 2, 1, 1000)
    assert (again.bytes_new, again.bytes_reused, counters.bytes_read) == (0, 1000, 1000)
    assert not bench.push().changed


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("entry", ["empty", "link", "time of a folder", "executable"])
def test_a_change_of_what_is_no_files_bytes_makes_another_state(bench: Bench, entry: str) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    (bench.source / "folder").mkdir()
    (bench.source / "link").symlink_to("file")
    first = bench.push()
    if entry == "empty":
        (bench.source / "folder" / "empty").mkdir()
    elif entry == "link":
        (bench.source / "link").unlink()
        (bench.source / "link").symlink_to("folder")
    elif entry == "executable":
        (bench.source / "file").chmod(0o755)
    else:
        os.utime(bench.source / "folder", ns=(OLD_NS, OLD_NS))
    assert bench.push().manifest != first.manifest
    assert held(bench.arrives()) == held(bench.source)


@pytest.mark.usefixtures("settled")
def test_a_folder_that_is_as_it_was_is_read_again_when_the_removal_of_its_state_has_begun(
    bench: Bench, opened: list[bytes]
) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    first = bench.push()
    (bench.tmp_path / "other").mkdir()
    bench.push(source=bench.tmp_path / "other")
    deletion = Deletion(Unhurried(bench.memory), Rules(grace_ns=0, dead_ns=0, late_ns=0))
    deletion.mark()
    deletion.condemn(deletion.state().batches[0])
    opened.clear()
    again = bench.push()
    assert (again.manifest, again.bytes_new, again.bytes_reused, opened) == (first.manifest, 1000, 0, [b"file"])
    deletion.run()
    assert held(bench.arrives()) == held(bench.source)


def test_files_that_have_not_settled_are_read_again(bench: Bench, opened: list[bytes]) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    bench.push()
    bench.push()
    assert opened == [b"file", b"file"]


@pytest.mark.usefixtures("settled")
def test_reread_reads_everything(bench: Bench, opened: list[bytes]) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    bench.push()
    bench.push(options=PushOptions(reread=True))
    assert opened == [b"file", b"file"]


def test_hooks_find_the_blocks_of_another_dataset(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(20 << 20))
    bench.push(dataset="one")
    pushed = bench.push(dataset="two")
    assert pushed.bytes_reused > 8 << 20  # all that lies behind the first hook that is met, pack by pack
    for key in bench.keys(INDEX):
        bench.memory.delete(key)
    assert bench.push(dataset="three").bytes_new == 20 << 20


# files that do not keep still


def change_while_read(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Have each opened file appended to, the first `times` it is opened; return how often that happened."""
    real = reader.open_regular
    done: list[int] = []

    def changing(path: bytes) -> int:
        descriptor = real(path)
        if len(done) < times:
            done.append(1)
            with open(path, "ab") as late:
                late.write(b"more")
        return descriptor

    monkeypatch.setattr(reader, "open_regular", changing)
    return done


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (bench.source / "file").write_bytes(noise(size))
    calls: list[int] = []

    def changing(status: os.stat_result) -> object:
        calls.append(1)
        if len(calls) == 1:  # right after it was first looked at
            with (bench.source / "file").open("ab") as late:
                late.write(b"more")
        return identity(status)

    monkeypatch.setattr("store.push.ingest.identity", changing)
    monkeypatch.setattr("store.push.reader.identity", changing)
    assert bench.push().size == size + 4
    assert len(calls) > 2
    assert held(bench.arrives()) == held(bench.source)


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_a_file_that_never_rests_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    (bench.source / "file").write_bytes(noise(size))

    def changing(status: os.stat_result) -> object:
        seen = identity(status)
        with (bench.source / "file").open("ab") as late:
            late.write(b"more")
        return seen

    monkeypatch.setattr("store.push.ingest.identity", changing)
    monkeypatch.setattr("store.push.reader.identity", changing)
    with pytest.raises(SourceChanged) as caught:
        bench.push()
    assert caught.value.path == b"file"
    assert bench.keys(MANIFESTS) == set()


def test_a_file_that_grew_since_the_walk_arrives_as_it_is_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    assert change_while_read(monkeypatch, 1) == []
    bench.push()
    assert held(bench.arrives()) == held(bench.source)


# what can't be kept


def make_special(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
    monkeypatch.undo()


def test_pipes_and_sockets_are_refused_with_a_list(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.source / "file").touch()
    make_special(bench.source, monkeypatch)
    with pytest.raises(SourceUnusable) as caught:
        bench.push()
    assert dict(caught.value.entries) == {
        b"pipe": "a named pipe cannot be published",
        b"socket": "a socket cannot be published",
    }
    assert bench.keys(PACKS) == bench.keys(MANIFESTS) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device: run the tests as root")
def test_devices_are_refused(bench: Bench) -> None:
    os.mknod(bench.source / "null", 0o020600, os.makedev(1, 3))
    with pytest.raises(SourceUnusable, match="null: a character device"):
        bench.push()


def test_skip_unreadable_leaves_them_out_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.source / "file").write_text("text")
    make_special(bench.source, monkeypatch)
    pushed = bench.push(options=PushOptions(skip_unreadable=True))
    assert {path for path, _ in pushed.skipped} == {b"pipe", b"socket"}
    assert [path.name for path in bench.arrives().iterdir()] == ["file"]


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_an_unreadable_file_is_refused_or_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    (bench.source / "file").write_text("text")
    (bench.source / "secret").write_bytes(noise(size))
    real = reader.open_regular

    def denied(path: bytes) -> int:
        if os.path.basename(path) == b"secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(reader, "open_regular", denied)
    with pytest.raises(SourceUnusable, match="secret: not allowed to read it"):
        bench.push()
    pushed = bench.push(options=PushOptions(skip_unreadable=True))
    assert pushed.skipped == ((b"secret", "not allowed to read it"),)
    assert [path.name for path in bench.arrives().iterdir()] == ["file"]


def test_links_are_kept_and_never_followed(bench: Bench) -> None:
    outside = bench.tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not part of it")
    (bench.source / "folder").symlink_to(outside)
    (bench.source / "file").symlink_to(outside / "secret")
    (bench.source / "loop").symlink_to("loop")
    pushed = bench.push()
    assert (pushed.files, pushed.entries) == (0, 3)
    assert held(bench.arrives()) == held(bench.source)


def test_a_file_replaced_by_a_link_after_the_walk_is_not_followed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.tmp_path / "secret").write_text("not part of it")
    (bench.source / "file").write_text("text")
    real = reader.open_regular

    def replaced(path: bytes) -> int:
        os.unlink(path)
        os.symlink(bench.tmp_path / "secret", os.fsdecode(path))
        return real(path)

    monkeypatch.setattr(reader, "open_regular", replaced)
    with pytest.raises(SourceUnusable):
        bench.push()
    assert bench.keys(PACKS) == set()


def test_hard_links_become_files_and_are_counted(bench: Bench) -> None:
    (bench.source / "one").write_bytes(noise(100_000))
    os.link(bench.source / "one", bench.source / "two")
    pushed = bench.push()
    assert (pushed.hard_links, pushed.bytes_new, pushed.files) == (2, 100_000, 2)


# what is published


def test_one_file_is_published_as_a_folder_that_holds_it(bench: Bench) -> None:
    (bench.source / "data.bin").write_bytes(noise(5000))
    pushed = bench.push(source=bench.source / "data.bin")
    assert (pushed.files, pushed.size) == (1, 5000)
    assert [path.name for path in bench.arrives().iterdir()] == ["data.bin"]


def test_a_source_that_is_not_there_is_missing(bench: Bench) -> None:
    with pytest.raises(PathMissing):
        bench.push(source=bench.source / "nothing")


def test_what_is_excluded_is_left_out(bench: Bench) -> None:
    for path in ("keep", "drop.tmp", "sub/keep", "sub/drop.tmp", "cache/x", "sub/cache/y"):
        (bench.source / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.source / path).write_text(path)
    bench.push(options=PushOptions(exclude=["*.tmp", "cache/"]))
    dest = bench.arrives()
    assert {str(path.relative_to(dest)) for path in dest.rglob("*")} == {"keep", "sub", "sub/keep"}


def test_a_dry_run_writes_nothing_and_tells_what_would_be_new(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(300_000))
    before = bench.keys("")
    dry = bench.push(options=PushOptions(dry_run=True))
    assert bench.keys("") == before
    assert not [path for path in (bench.tmp_path / "state").rglob("*") if path.is_file() and path.suffix != ".lock"]
    real = bench.push()
    assert (dry.manifest, dry.bytes_new, dry.puts) == (real.manifest, real.bytes_new, 0)


def test_an_empty_folder_is_a_state_too(bench: Bench) -> None:
    pushed = bench.push()
    assert (pushed.files, pushed.entries, pushed.size) == (0, 0, 0)
    assert list(bench.arrives().iterdir()) == []


def test_a_version_with_other_content_is_a_conflict_and_with_the_same_is_none(bench: Bench) -> None:
    (bench.source / "file").write_text("one")
    bench.push("1.0.0")
    assert not bench.push("1.0.0").changed
    (bench.source / "file").write_text("two")
    with pytest.raises(TagExists):
        bench.push("1.0.0")


# interrupted, or overtaken


def test_a_push_that_failed_uploads_only_the_rest(bench: Bench) -> None:
    for number in range(4):
        (bench.source / f"large {number}").write_bytes(noise(18 << 20, number))
    bench.objects.calls_left = 2
    with pytest.raises(StoreUnavailable):
        bench.push()
    there = bench.keys(PACKS)
    assert len(there) == 2
    assert bench.keys(MANIFESTS) == set()
    bench.objects.calls_left = None
    pushed = bench.push()
    assert pushed.bytes_reused > 9 << 20
    assert pushed.bytes_new < 63 << 20
    assert there < bench.keys(PACKS)
    assert held(bench.arrives()) == held(bench.source)


def test_a_journalled_pack_that_is_gone_is_uploaded_again(bench: Bench) -> None:
    for number in range(4):
        (bench.source / f"large {number}").write_bytes(noise(18 << 20, number))
    bench.objects.calls_left = 2
    with pytest.raises(StoreUnavailable):
        bench.push()
    for key in bench.keys(PACKS):
        bench.memory.delete(key)
    bench.objects.calls_left = None
    assert bench.push().bytes_new == 72 << 20
    assert held(bench.arrives()) == held(bench.source)


def test_a_channel_moved_meanwhile_is_a_conflict_and_the_next_push_wins(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    bench.push()
    other = bench.tmp_path / "other"
    other.mkdir()
    (other / "file").write_bytes(noise(1000, 1))

    def overtake(key: str) -> None:
        bench.objects.before = lambda key: None
        bench.push(source=other)

    bench.objects.before = overtake
    (bench.source / "file").write_bytes(noise(1000, 2))
    with pytest.raises(TagMoved):
        bench.push()
    assert (bench.arrives() / "file").read_bytes() == noise(1000, 1)
    pushed = bench.push()
    assert pushed.changed
    assert pushed.bytes_new == 0
    assert (bench.arrives() / "file").read_bytes() == noise(1000, 2)


def test_expected_channels_are_held_against(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(1000))
    with pytest.raises(TagMoved):
        bench.push(options=PushOptions(expect={"latest": "0" * 64}))
    assert bench.push(options=PushOptions(expect={"latest": ""})).changed


def test_counters_end_at_the_whole(bench: Bench) -> None:
    (bench.source / "file").write_bytes(noise(300_000))
    (bench.source / "same").write_bytes(noise(300_000))
    counters = PushCounters()
    objects: ObjectStore = bench.objects
    push(Repository.open(objects), bench.source, "ds", ["latest"], bench.tmp_path / "state", None, counters)
    assert (counters.files_total, counters.bytes_total, counters.bytes_read) == (2, 600_000, 600_000)
    assert (counters.bytes_new, counters.bytes_reused) == (300_000, 300_000)
    assert counters.bytes_uploaded > 300_000
