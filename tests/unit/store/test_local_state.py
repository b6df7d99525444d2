"""What pushes and pulls keep in local files: of an encrypted store nothing can be read there, and it serves as ever."""

import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from blake3 import blake3

import store.manifest.contents
import store.pull.placed
import store.pull.pull
import store.pull.staging
import store.push.push
import store.push.reader
import store.push.unchanged
import store.veiled_file
from store.care.verify import verify
from store.digest import chunk_digest
from store.errors import BlockCorrupt, DestinationForeign
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.pull.placed import recall
from store.pull.pull import Pulled, PullOptions, pull
from store.push.journal import Journal
from store.push.push import Pushed, PushOptions, push
from store.repository import Repository
from store.root import StoreRoot
from store.veil import Veil
from store.vfs.storetree import StoreTree
from tests.support.folders import held, latest, new_repository

ID_KEY: Final = b"i" * 32
VEIL: Final = Veil(b"v" * 32)
OTHER: Final = Veil(b"o" * 32)
FILES: Final = 1100
FOLDER, TARGET, TAG, DATASET = b"MARKED-FOLDER", b"MARKED-TARGET/of/a/link", "markedtag", "markedset"


class Bench:
    """A folder, a store, and local state of both directions."""

    def __init__(self, top: Path, veil: Veil | None = VEIL) -> None:
        self.top, self.veil = top, veil
        self.source, self.dest = top / "source", top / "dest"
        self.states = (top / "push-state", top / "pull-state")
        self.objects = FolderStore(top / "store", create=True)
        new_repository(self.objects)
        self.source.mkdir()

    @property
    def repository(self) -> Repository:
        repository = Repository.open(self.objects)
        repository.veil = self.veil
        return repository

    def mark(self, files: int, size: int = 100) -> None:
        """Fill the folder with files that can be recognised, of so many random bytes each."""
        folder = self.source / os.fsdecode(FOLDER)
        folder.mkdir()
        for number in range(files):
            noise = random.Random(number).randbytes(size)
            (folder / f"MARKED-NAME-{number}").write_bytes(b"MARKED-CONTENT %b MARKED-CONTENT" % noise)
        (self.source / "link").symlink_to(os.fsdecode(TARGET))
        for path in (*folder.iterdir(), folder):
            os.utime(path, ns=(10**18, 10**18))

    def push(self, options: PushOptions | None = None) -> Pushed:
        return push(self.repository, self.source, DATASET, ["latest", TAG], self.states[0], options)

    def pull(self, options: PullOptions | None = None) -> Pulled:
        repository = self.repository
        return pull(repository, latest(repository, DATASET), self.dest, self.states[1], options)

    def objects_of(self, prefix: str) -> list[Path]:
        return [path for path in (self.top / "store" / prefix).rglob("*") if path.is_file()]

    def needles(self) -> dict[str, list[bytes]]:
        """Return what must not be found, by kind."""
        content = latest(self.repository, DATASET).content
        ids = [content.manifest, content.root]
        digests = []
        for path in sorted((self.source / os.fsdecode(FOLDER)).iterdir())[::97]:
            data = path.read_bytes()
            made = (hashlib.sha256(data), hashlib.md5(data), blake3(data))
            digests += [one.digest() for one in made] + [one.hexdigest().encode() for one in made]
        return {
            "name": [b"MARKED-NAME", FOLDER],
            "target": [TARGET],
            "tag": [TAG.encode()],
            "dataset": [DATASET.encode()],
            "content": [b"MARKED-CONTENT"],
            "id": [*map(bytes.fromhex, ids), *(id.encode() for id in ids)],
            "digest": digests,
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Watch:
    """Every state of every local file that pushes and pulls of a bench write, apart from what they are to make."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._kept: list[int] = []  # descriptors of files without a name, that outlive these files
        self.blobs: dict[bytes, str] = {}
        self.temporary = 0  # bytes in files without a name

    def look(self) -> None:
        for top in self._bench.states:
            for path in top.rglob("*"):
                self._add(os.fsencode(path.relative_to(top)), "a name")
                if path.is_file():
                    self._add(path.read_bytes(), path.name)
        for path in self._bench.top.glob(".aetherfs-pull-*"):
            for below in path.iterdir():
                self._add(os.fsencode(below.name), "a name of staging")
                if below.is_file():
                    self._add(below.read_bytes(), below.name)
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                path = Path(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue
            ours = (self._bench.source, self._bench.dest, self._bench.top / "store", *self._bench.top.glob(".aeth*"))
            if not any(path.is_relative_to(folder) for folder in ours):
                self._descriptor(number)

    def _descriptor(self, number: int) -> int:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return 0
        try:
            data = os.pread(number, status.st_size, 0)
        except OSError:  # open for writing alone
            return 0
        self._add(data, f"descriptor {number}")
        return len(data)

    def _add(self, data: bytes, what: str) -> None:
        self.blobs.setdefault(data, what)

    def keep(self, descriptor: int) -> None:
        self._kept.append(os.dup(descriptor))

    def end(self) -> None:
        self.look()
        for descriptor in self._kept:
            self.temporary += self._descriptor(descriptor)
            os.close(descriptor)
        self._kept.clear()

    def found(self) -> dict[str, str]:
        """Return by kind of what must not be found where it was."""
        return {
            kind: what
            for kind, texts in self._bench.needles().items()
            for data, what in self.blobs.items()
            if any(text in data for text in texts)
        }


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Bench], Watch]]:
    """Watch a bench: before whatever makes a file durable or has one vanish, and files without names to their end."""
    watches: list[Watch] = []

    def before(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def looking(*args: Any, **kwargs: Any) -> Any:
            for watch in watches:
                watch.look()
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, looking)

    temporary_file = tempfile.TemporaryFile

    def unnamed(*args: Any, **kwargs: Any) -> Any:
        file = temporary_file(*args, **kwargs)
        for watch in watches:
            watch.keep(file.fileno())
        return file

    before(Path, "replace")
    before(Path, "unlink")
    before(os, "fsync")
    monkeypatch.setattr(tempfile, "TemporaryFile", unnamed)

    def watch(bench: Bench) -> Watch:
        watches.append(Watch(bench))
        return watches[-1]

    yield watch
    for one in watches:
        one.end()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few files be many: processes for small ones, and columns in files."""
    monkeypatch.setattr(store.push.push, "MANY", 100)
    monkeypatch.setattr(store.pull.pull, "_MANY", 100)
    monkeypatch.setattr(store.manifest.contents, "_IN_MEMORY", 1000)
    monkeypatch.setattr(store.veiled_file, "HELD", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("veil", [VEIL, None], ids=["sealed", "plain"])
def test_no_local_file_shows_anything(tmp_path: Path, watched: Callable[[Bench], Watch], veil: Veil | None) -> None:
    bench = Bench(tmp_path, veil)
    watch = watched(bench)
    bench.mark(FILES)
    for _ in range(2):
        bench.push(PushOptions(dry_run=True))
        bench.push()
        bench.pull()
        (bench.source / os.fsdecode(FOLDER) / "MARKED-NAME-1").write_text("MARKED-CONTENT changed")
    bench.push()
    bench.pull(PullOptions(verify=True))
    assert held(bench.dest) == held(bench.source)
    watch.end()
    assert watch.temporary > 100_000  # so it was not all in memory
    found = watch.found()
    if veil is not None:
        assert found == {}
    else:  # what is looked for would be seen
        assert found.keys() == {"name", "target", "tag", "id", "digest"}


PROGRAM = """
import os, signal, sys
from pathlib import Path
from store.layout import MANIFESTS
from store.objects.local import FolderStore
from store.objects.wrapper import Wrapper
from store.pull.pull import PullCounters, pull
from store.push.push import push
from store.repository import Repository
from store.root import StoreRoot
from store.veil import Veil

def end():
    os.kill(os.getpid(), signal.SIGKILL)

class KillsPush(Wrapper):
    def put_if(self, key, data, *, match):
        end() if key.startswith(MANIFESTS) else None
        return super().put_if(key, data, match=match)

class KillsPull(PullCounters):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        end() if name == "bytes_fetched" and value > 200_000 else None

what, top, dataset, tag = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
StoreRoot.id_key = property(lambda root: b"i" * 32)
repository = Repository.open(KillsPush(FolderStore(top / "store")))
repository.veil = Veil(b"v" * 32)
if what == "push":
    push(repository, top / "source", dataset, ["latest", tag], top / "push-state")
else:
    state = repository.catalogue.resolve(dataset + ":latest")
    pull(repository, state, top / "dest", top / "pull-state", None, KillsPull())
"""


def killed(bench: Bench, what: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, what, bench.top, DATASET, TAG], cwd=Path(__file__).parents[3], check=False
    )
    assert process.returncode == -signal.SIGKILL


def test_what_a_killed_push_and_a_killed_pull_leave_shows_nothing_and_is_gone_on_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreRoot, "id_key", property(lambda root: ID_KEY))
    bench.mark(60, size=30_000)
    watch = Watch(bench)
    killed(bench, "push")
    (journal,) = bench.states[0].rglob("*.journal")
    assert len(journal.read_text("ascii").split()) == 3  # the parents of two channels, a pack
    watch.look()
    assert bench.push().bytes_new == 0
    killed(bench, "pull")
    watch.look()
    assert any("staging" in what for what in watch.blobs.values())
    size = sum(path.stat().st_size for path in bench.objects_of("packs"))
    assert 0 < bench.pull().bytes_fetched <= size - 200_000
    watch.end()
    assert watch.found() == {}
    assert held(bench.dest) == held(bench.source)


# the key of chunk ids


@pytest.mark.usefixtures("little")
def test_chunk_ids_are_keyed_wherever_they_are_made_or_checked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(StoreRoot, "id_key", property(lambda root: ID_KEY))
        bench.mark(200)
        (bench.source / "large").write_bytes(b"".join(hashlib.sha512(b"%d" % n).digest() for n in range(40_000)))
        bench.push()
        repository = bench.repository
        state = latest(repository, DATASET)
        manifest = repository.manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root))
        digests = {block.digest for block in manifest.all_blocks()}
        small = [path.read_bytes() for path in (bench.source / os.fsdecode(FOLDER)).iterdir()]
        assert digests >= {chunk_digest(data, ID_KEY) for data in small}
        assert not digests & {chunk_digest(data) for data in small}

        bench.pull()
        assert held(bench.dest) == held(bench.source)
        (bench.source / "large").write_bytes((bench.source / "large").read_bytes()[:-1000] + b"end")
        bench.push()
        assert bench.pull().bytes_fetched < 300_000  # the rest was known again
        shutil.rmtree(bench.states[1])
        (bench.dest / "large").write_bytes(b"x" + (bench.source / "large").read_bytes())
        assert bench.pull(PullOptions(force=True)).bytes_fetched < 600_000  # found by cutting what lay there
        assert held(bench.dest) == held(bench.source)

        assert not verify(bench.objects, deep=True, root=bench.repository.root).findings
        tree = StoreTree(bench.repository, memory=1 << 20)
        try:
            node = tree.root()
            for name in (DATASET.encode(), b"latest", b"large"):
                node = tree.lookup(node, name)
            assert b"".join(tree.read(node, 0, 1 << 20))[:64] == hashlib.sha512(b"0").digest()
        finally:
            tree.close()
    assert verify(bench.objects, deep=True).findings
    shutil.rmtree(bench.dest)
    with pytest.raises(BlockCorrupt):
        bench.pull()


# what was remembered


def next_version(bench: Bench) -> None:
    bench.mark(3) if not (bench.source / "link").is_symlink() else None
    for path in (bench.source / os.fsdecode(FOLDER)).iterdir():
        path.write_bytes(path.read_bytes() + b"!")
    bench.push()


def test_a_pull_knows_its_own_files_again_and_those_of_another_stores_pull_not(bench: Bench) -> None:
    next_version(bench)
    bench.pull()
    next_version(bench)
    bench.pull()
    next_version(bench)
    bench.veil = OTHER
    with pytest.raises(DestinationForeign):
        bench.pull()
    bench.pull(PullOptions(force=True))
    next_version(bench)
    bench.pull()
    assert held(bench.dest) == held(bench.source)


def test_a_pull_from_an_encrypted_store_knows_what_one_from_a_plain_store_put_there(bench: Bench) -> None:
    bench.veil = None
    next_version(bench)
    bench.pull()
    (plain,) = (bench.states[1] / "pull").iterdir()
    next_version(bench)
    bench.veil = VEIL
    bench.pull()
    assert not plain.exists()
    next_version(bench)
    bench.pull()
    assert held(bench.dest) == held(bench.source)
    (record,) = (bench.states[1] / "pull").iterdir()
    assert recall(record) is recall(record, OTHER) is None


def test_a_tree_that_a_pull_from_a_plain_store_left_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.veil = None
    bench.mark(60, size=30_000)
    bench.push()
    with monkeypatch.context() as patched:
        patched.setattr(store.pull.staging.Staging, "swap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.pull()
    bench.veil = VEIL
    assert bench.pull().bytes_fetched == 0
    assert held(bench.dest) == held(bench.source)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_a_pull_killed_as_it_notes_what_it_did_leaves_nothing_foreign(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Killed after the exchange: before, between and after the writes, of which none reaches the file in part."""
    monkeypatch.setattr(store.veiled_file, "HELD", 1)
    bench.mark(FILES)
    bench.push()
    bench.pull()
    next_version(bench)
    real = os.pwrite
    left = -1

    def dying(descriptor: int, data: bytes, at: int) -> int:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return real(descriptor, data, at)

    def swapped(place: store.pull.staging.Staging) -> None:
        nonlocal left
        left = number

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", dying)
        patched.setattr(store.pull.staging.Staging, "clear", swapped)
        with pytest.raises(KeyboardInterrupt):
            bench.pull()
    assert held(bench.dest) == held(bench.source)
    next_version(bench)
    bench.pull()
    assert held(bench.dest) == held(bench.source)


def test_a_damaged_record_of_a_pull_is_as_good_as_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.pull.staging.Staging, "now_ns", lambda place: 1 << 62)  # everything has settled
    bench.mark(FILES)
    bench.push()
    bench.pull()
    (record,) = (bench.states[1] / "pull").iterdir()
    whole = record.read_bytes()
    assert identified(record) == FILES
    for at in (0, 50, 70, 80, 40_000):
        record.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert recall(record, VEIL) is None
        record.write_bytes(whole[:at])
        assert recall(record, VEIL) is None
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-20_000]):
        record.write_bytes(damaged)
        assert identified(record) == 0


def identified(record: Path) -> int:
    placement = recall(record, VEIL)
    assert placement is not None
    with placement:
        return sum(placed.identity is not None for _, placed in placement.entries())


def test_a_push_reads_nothing_again_unless_its_record_is_damaged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.push.unchanged, "SETTLED_NS", -(10**15))  # everything has settled
    opened: list[bytes] = []
    real = store.push.reader.open_regular

    def noted(path: bytes) -> int:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(store.push.reader, "open_regular", noted)
    bench.mark(FILES)
    first = bench.push()
    assert len(opened) == FILES
    (bench.source / "another").touch()  # so that files are compared one by one
    bench.push()
    assert len(opened) == FILES + 1
    bench.push()
    assert len(opened) == FILES + 1
    (bench.source / "another").unlink()
    assert bench.push().manifest != first.manifest  # the folder's time is another
    (record,) = (path for path in bench.states[0].rglob("*") if path.is_file() and not path.suffix)
    whole = record.read_bytes()
    for at in (0, 50, 100, 20_000, len(whole) - 1):
        for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            record.write_bytes(damaged)
            opened.clear()
            again = bench.push()
            assert (again.changed, again.bytes_new) == (False, 0)
            assert 0 < len(opened) <= FILES


# the journal


def test_a_journal_is_read_by_its_own_store_and_push_alone(tmp_path: Path) -> None:
    parents, pack = {"latest": "ab" * 32, "qa": ""}, bytes(range(16))
    path = tmp_path / "one.journal"
    journal = Journal(path, VEIL)
    journal.begin(parents)
    journal.pack(pack)  # type: ignore[arg-type]  # as good as one
    again = Journal(path, VEIL)
    assert (again.parents(["latest", "qa"]), again.packs()) == (parents, [pack])
    path.write_text(path.read_text("ascii")[:-30], "ascii")
    short = Journal(path, VEIL)
    assert (short.parents(["latest", "qa"]), short.packs()) == (parents, [])
    short.pack(pack)  # type: ignore[arg-type]  # likewise
    assert Journal(path, VEIL).packs() == [pack]
    for other in (Journal(path, OTHER), Journal(path), Journal(path.rename(tmp_path / "two.journal"), VEIL)):
        assert (other.parents(["latest", "qa"]), other.packs()) == ({}, [])


def test_an_opened_store_without_keys_has_no_veil() -> None:
    assert new_repository(MemoryStore()).veil is None
