"""An encrypted store from end to end: everything works, and nobody without the key learns a name or a byte of it.

Marked names and contents are pushed, pulled, served and read; then every byte of the bucket, of the user's folders, of
temporary files, of memory files and of the log is searched for the marks. A plain store, treated the same, is where the
search finds them.
"""

import base64
import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.objects.address import open_objects
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.http_client import ask
from tests.support.s3 import S3Place

pytestmark = pytest.mark.interop

DATASET, TAG, NAME, TARGET, CONTENT = "markedset", "markedtag", "MARKED-NAME", "MARKED-TARGET", b"MARKED-CONTENT"
MARKS = [word.encode() for word in (DATASET, TAG, NAME, TARGET)] + [CONTENT]


class Home(Place):
    """A store, and a user whose folders, temporary ones too, can be searched."""

    def __init__(self, store: str, top: Path) -> None:
        super().__init__(store, top / "home")
        self.top, self.store = top, store
        for name in ("home", "tmp"):
            (top / name).mkdir()
        self.environment |= {"TMPDIR": str(top / "tmp"), "AETHERFS_CACHE_DIR": str(top / "home" / "cache")}

    def objects(self) -> Iterator[tuple[str, bytes]]:
        objects = open_objects(self.store)
        for info in objects.list(""):
            yield f"object {info.key}", info.key.encode() + b"\0" + objects.get(info.key)
        objects.close()

    def local(self) -> Iterator[tuple[str, bytes]]:
        for folder in (self.top / "home", self.top / "tmp"):
            for path in folder.rglob("*"):
                inside = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                yield f"{path}", os.fsencode(path.name) + b"\0" + inside


@pytest.fixture(params=["folder", pytest.param("seaweed", marks=pytest.mark.s3)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    place: S3Place = request.getfixturevalue("seaweed_place")
    return place.address


def marked(folder: Path) -> dict[str, bytes]:
    """Make a folder in which names, targets and contents are marked; contents that no compression hides."""
    files = {}
    for number in range(40):
        noise = random.Random(number).randbytes(30_000 + 7000 * number)
        files[f"{NAME} {number % 3}/{NAME} {number}.bin"] = CONTENT + noise + CONTENT
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    os.symlink(f"{TARGET}/of/a/link", folder / "link")
    return files


def open_files(gateway: Gateway) -> Iterator[tuple[str, bytes]]:
    """Yield what processes of a gateway hold open that has no name any more, and what lies in memory file systems."""
    family = {gateway.process.pid}
    for _ in range(3):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) in family:
                family.add(int(stat.parent.name))
    for pid in family:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                if "(deleted)" in os.readlink(link) or "memfd" in os.readlink(link):
                    yield f"{link} -> {os.readlink(link)}", link.read_bytes()
            except OSError:
                continue
    for path in Path("/dev/shm").rglob("*"):
        if path.is_file():
            yield f"{path}", path.read_bytes()


def used(home: Home, address: str, tmp_path: Path, *init: str) -> tuple[list[tuple[str, bytes]], list[bytes]]:
    """Do all that users do, and return every byte that was left, and what must not be in them."""
    home.run("init", *init)
    source = tmp_path / f"{home.top.name} source"
    files = marked(source)
    pushed = home.run("push", source, "-t", f"{DATASET}:{TAG}", "-t", f"{DATASET}:1.0.0", "-m", f"{NAME} message")
    secret = [*MARKS, pushed["manifest"].removeprefix("b3-").encode(), bytes.fromhex(pushed["manifest"][3:])]
    secret += [hashlib.sha256(content).digest() for content in files.values()]
    found: list[tuple[str, bytes]] = []
    with home.serve("-v", "--workers", "2") as gateway:
        name, content = next(iter(files.items()))
        for path in (f"/fs/{DATASET}/{TAG}/{name}", f"/webdav/{DATASET}/1.0.0/{name}"):
            assert ask(gateway.http, "GET", path.replace(" ", "%20"), timeout_s=DEADLINE_S) == (200, content)
        assert ask(gateway.http, "GET", f"/fs/{DATASET}/none", timeout_s=DEADLINE_S)[0] == 404
        assert DATASET.encode() in ask(gateway.http, "GET", "/fs/", timeout_s=DEADLINE_S)[1]
        url = (
            f"nfs://127.0.0.1/{DATASET}/{TAG}/{name}?version=3&nfsport={gateway.nfs_port}&mountport={gateway.nfs_port}"
        )
        assert subprocess.run(["nfs-cat", url], check=True, capture_output=True, timeout=DEADLINE_S).stdout == content
        home.run("warm", f"{DATASET}:{TAG}")
        (source / name).write_bytes(content + b"more")
        home.run("push", source, "-t", f"{DATASET}:{TAG}")
        home.run("pull", f"{DATASET}:{TAG}", tmp_path / f"{home.top.name} dest")
        home.run("tag", f"{DATASET}:{TAG}", f"{DATASET}:other{TAG}")
        home.run("untag", f"{DATASET}:other{TAG}")
        home.run("rollback", f"{DATASET}:{TAG}")
        assert home.run("verify", "--deep")["ok"] is True
        assert [one["name"] for one in home.run("ls")["datasets"]] == [DATASET]
        found += open_files(gateway)
        assert gateway.stop() == 0
        assert gateway.process.stderr is not None
        found.append(("the log", gateway.process.stderr.read().encode()))
    return [*found, *home.objects(), *home.local()], secret


def leaks(found: list[tuple[str, bytes]], secret: list[bytes]) -> list[str]:
    spelled = {mark: [mark, mark.hex().encode(), base64.b64encode(mark).rstrip(b"=")[:-1]] for mark in secret}
    return [
        f"{mark!r} in {where}" for where, data in found for mark in secret if any(one in data for one in spelled[mark])
    ]


def test_nothing_of_an_encrypted_store_is_left_in_plain_anywhere(address: str, tmp_path: Path) -> None:
    for name in ("encrypted", "plain"):
        (tmp_path / name).mkdir()
    found, secret = used(Home(address, tmp_path / "encrypted"), address, tmp_path, "--encrypt")
    assert len(found) > 20
    assert any("cache/blocks" in where for where, _ in found), "the disk cache was used"
    assert any("stores" in where for where, _ in found), "local state was kept"
    assert leaks(found, secret) == []


def test_the_search_finds_what_a_plain_store_shows(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    store = str(tmp_path / "store")
    found, secret = used(Home(store, tmp_path / "plain"), store, tmp_path)
    shown = leaks([one for one in found if one[0].startswith("object ")], secret)
    assert {mark for mark in MARKS if any(repr(mark) in leak for leak in shown)} == {*MARKS}
    cached = [one for one in found if "cache/blocks" in one[0]]
    assert cached
    assert leaks(cached, secret) == [], "the disk cache is sealed by a local key"
