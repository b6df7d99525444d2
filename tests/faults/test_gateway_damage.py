"""Damage in a folder store under a running gateway: an error or the right bytes, its name in the log."""

import contextlib
import functools
import queue
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from nfs.wire import nfs3
from nfs.wire.nfs3types import diropargs3, nfsstat3
from store.catalogue import catalogue as catalogue_module
from store.catalogue.history import Archive
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.local import FolderStore
from store.push.push import push
from store.repository import Repository
from store.root import create_store
from tests.faults.steps import write_folder
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.http_client import ask
from tests.support.nfs_client import NfsClient

pytestmark = [pytest.mark.interop, pytest.mark.slow]

TAGS: Final = [f"1.0.{number}" for number in range(40)]
SEGMENTS: Final = "history/"
SMALL_HEAD: Final = 2500  # bytes from which a head spills here, so that tags lie in segments
KINDS: Final = (DATASETS, SEGMENTS, MANIFESTS, PACKS)
HARMS: Final = ("flipped", "cut", "gone")
FILE: Final = "file 0"
SIZE: Final = 200_000
PROMPT_S: Final = (
    60.0  # longest that an answer may take, and a gateway to see that all is well, on a machine that stalls
)


class Answer(NamedTuple):
    """What a client got: the right thing, an error, or (neither) something wrong."""

    right: bool
    error: str  # empty: none


class Bench:
    """A gateway in front of a folder, with a dataset for each kind of damage and one that nothing happens to."""

    def __init__(self, work: Path, gateway: Gateway) -> None:
        self.objects = FolderStore(work / "store")
        self.work, self.gateway = work, gateway
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.gateway.process.stderr is not None
        with contextlib.suppress(ValueError):  # closed, with the gateway
            for line in self.gateway.process.stderr:
                self._lines.put(line)

    def hear(self, keys: Collection[str]) -> None:
        """Wait for a line of the log that names one of some objects."""
        until = time.monotonic() + PROMPT_S
        while True:
            line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            if any(key in line for key in keys):
                return

    def keys(self, dataset: str, kind: str) -> list[str]:
        """Return the objects of a kind that one dataset alone has."""
        return (self.work / dataset / "keys" / kind.strip("/")).read_text().split()

    def content(self, dataset: str) -> bytes:
        return (self.work / dataset / "data" / FILE).read_bytes()

    def answers(self, dataset: str) -> dict[str, Answer]:
        """Ask for everything on every interface."""
        asks: dict[str, Callable[[], Answer]] = {
            "tags": lambda: self._listed(f"/fs/{dataset}/", TAGS),
            "files": lambda: self._listed(f"/fs/{dataset}/{TAGS[0]}/", [FILE]),
            "file": lambda: self._got(f"/fs/{dataset}/{TAGS[0]}/{FILE}", dataset),
            "propfind": lambda: self._listed(f"/webdav/{dataset}/{TAGS[0]}/", [FILE], "PROPFIND"),
            "webdav file": lambda: self._got(f"/webdav/{dataset}/{TAGS[0]}/{FILE}", dataset),
            "nfs tags": lambda: self._nfs_listed([dataset], TAGS),
            "nfs files": lambda: self._nfs_listed([dataset, TAGS[0]], [FILE]),
            "nfs file": lambda: self._nfs_read([dataset, TAGS[0], FILE], dataset),
        }
        answers = {}
        for name, asked in asks.items():
            before = time.monotonic()
            answers[name] = asked()
            assert time.monotonic() - before < PROMPT_S, f"{dataset}: {name}"
        return answers

    # HTTP and WebDAV

    def _ask(self, path: str, method: str) -> tuple[int, bytes]:
        return ask(self.gateway.http, method, urllib.parse.quote(path), timeout_s=DEADLINE_S)

    def _listed(self, path: str, names: list[str], method: str = "GET") -> Answer:
        status, body = self._ask(path, method)
        text = urllib.parse.unquote(body.decode())
        return Answer(status in (200, 207) and all(name in text for name in names), _refusal(status))

    def _got(self, path: str, dataset: str) -> Answer:
        status, body = self._ask(path, "GET")
        return Answer(status == 200 and body == self.content(dataset), _refusal(status))

    # NFS

    def _looked_up(self, client: NfsClient, path: list[str]) -> tuple[nfsstat3, bytes]:
        handle = client.handle("/")
        for name in path:
            result = client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(handle, name.encode())))
            if result.status is not nfsstat3.NFS3_OK:
                return result.status, b""
            handle = result.resok.object
        return nfsstat3.NFS3_OK, handle

    def _nfs_listed(self, path: list[str], names: list[str]) -> Answer:
        with NfsClient(self.gateway.nfs_port) as client:
            status, handle = self._looked_up(client, path)
            if status is not nfsstat3.NFS3_OK:
                return Answer(False, status.name)
            result = client.call("READDIR", nfs3.READDIR3args(handle, 0, bytes(8), 65_536))
            if result.status is not nfsstat3.NFS3_OK:
                return Answer(False, result.status.name)
            found = {bytes(entry.name) for entry in result.resok.entries}
            return Answer(found >= {name.encode() for name in names}, "")

    def _nfs_read(self, path: list[str], dataset: str) -> Answer:
        with NfsClient(self.gateway.nfs_port) as client:
            status, handle = self._looked_up(client, path)
            if status is not nfsstat3.NFS3_OK:
                return Answer(False, status.name)
            result = client.call("READ", nfs3.READ3args(handle, 0, SIZE))
            if result.status is not nfsstat3.NFS3_OK:
                return Answer(False, result.status.name)
            return Answer(b"".join(result.resok.data) == self.content(dataset), "")


def _refusal(status: int) -> str:
    return str(status) if status >= 400 else ""


def name_of(kind: str, harm: str) -> str:
    return f"{kind.strip('/')}-{harm}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    work = tmp_path_factory.mktemp("damage")
    objects = FolderStore(work / "store", create=True)
    create_store(objects)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalogue_module, "Archive", functools.partial(Archive, spill_from=SMALL_HEAD, keep=500))
        names = ["sound", *(name_of(kind, harm) for kind in KINDS for harm in HARMS)]
        for number, name in enumerate(names):
            before = {info.key for info in objects.list("")}
            (work / name / "keys").mkdir(parents=True)
            write_folder(work / name / "data", number, files=1, size=SIZE)
            push(Repository.open(objects), work / name / "data", name, TAGS, work / name / "state")
            added = sorted({info.key for info in objects.list("")} - before)
            for kind in KINDS:
                own = [key for key in added if key.startswith(kind)]
                assert own
                (work / name / "keys" / kind.strip("/")).write_text("\n".join(own))
    with Place(str(work / "store"), work / "home").serve() as gateway:
        yield Bench(work, gateway)


def harmed(sound: bytes, harm: str) -> bytes | None:
    """Return what stands there instead."""
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 4]) + sound[middle + 1 :]
    return {"flipped": flipped, "cut": sound[:middle], "gone": None}[harm]


def put(objects: FolderStore, key: str, data: bytes | None) -> None:
    if data is None:
        objects.delete(key)
    else:
        objects.put(key, data)


def all_right(answers: dict[str, Answer]) -> bool:
    return all(answer.right for answer in answers.values())


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told_and_logged_and_others_are_served_meanwhile(bench: Bench, kind: str, harm: str) -> None:
    dataset = name_of(kind, harm)
    kept = {key: bench.objects.get(key) for key in bench.keys(dataset, kind)}
    for key, sound in kept.items():
        put(bench.objects, key, harmed(sound, harm))
    answers = bench.answers(dataset)
    for name, answer in answers.items():
        assert answer.right or answer.error, f"{name}: {answers}"
    told = {name for name, answer in answers.items() if answer.error}
    # A tag that was moved last lies in the head itself; its files are read without the segments.
    lost = {"tags", "nfs tags"} if kind == SEGMENTS else {"file", "webdav file", "nfs file"}
    assert lost <= told, answers
    if (kind, harm) == (DATASETS, "gone"):
        assert {answers[name].error for name in told} == {"404", "NFS3ERR_NOENT"}
    else:
        assert {answers[name].error for name in told} <= {"500", "NFS3ERR_IO"}, answers
        bench.hear(kept)
    assert all_right(bench.answers("sound"))
    for key, sound in kept.items():
        put(bench.objects, key, sound)
    until = time.monotonic() + PROMPT_S
    while not all_right(healed := bench.answers(dataset)):
        assert time.monotonic() < until, healed


@pytest.mark.parametrize("harm", HARMS)
def test_a_gateway_that_runs_goes_on_without_the_record_of_its_store(bench: Bench, harm: str) -> None:
    sound = bench.objects.get(ROOT_KEY)
    put(bench.objects, ROOT_KEY, harmed(sound, harm))
    try:
        assert all_right(bench.answers("sound"))
    finally:
        bench.objects.put(ROOT_KEY, sound)


@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_gateway_does_not_start_on_a_damaged_record(bench: Bench, tmp_path: Path, harm: str) -> None:
    objects = FolderStore(tmp_path / "store", create=True)
    create_store(objects)
    put(objects, ROOT_KEY, harmed(objects.get(ROOT_KEY), harm))
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    program = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--http", "127.0.0.1:0", "--nfs", "127.0.0.1:0"]
    ended = subprocess.run(program, capture_output=True, text=True, env=place.environment, timeout=DEADLINE_S)
    assert ended.returncode == 6, ended.stderr
    assert ROOT_KEY in ended.stderr
    assert "Traceback" not in ended.stderr
