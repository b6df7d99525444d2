"""Archives out of a running server, taken apart by GNU tar, bsdtar, unzip and Python, compared by digests."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.web import archive
from gateway.web.app import make_fast_lane, make_wsgi_app
from store.errors import StoreUnavailable
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.trees import Contents, File, Link, MemoryTree

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl"),
    pytest.mark.skipif(shutil.which("bsdtar") is None, reason="needs bsdtar: apt-get install libarchive-tools"),
    pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip: apt-get install unzip"),
]

LARGE = BIG * 30  # over what a zip archive holds in one piece
MIXED: Contents = {
    **SAMPLE,
    b"large": LARGE,
    b"p" * 150: {
        ("ü" * 100 + "😀").encode(): File(b"far", mtime_ns=1_234_567_890_123_456_789),
        b"up": Link(b"../a.txt"),
    },
}
# unzip leaves out bytes of names that are no text, whatever the archive says.
UNZIPPED: Contents = {**MIXED, b"names": {"été".encode(): b"1", b"with space": b"2", b"-rf": b"3"}}

Seen = dict[bytes, tuple[str, int, bytes]]  # by path: kind, mode, digest or target


def expected(contents: Contents, above: bytes = b"") -> Seen:
    found: Seen = {}
    for name, value in contents.items():
        path = above + name
        if isinstance(value, Link):
            found[path] = ("link", 0, value.target)
        elif isinstance(value, bytes | File):
            file = value if isinstance(value, File) else File(value)
            found[path] = ("file", 0o755 if file.executable else 0o644, sha256(file.data).digest())
        else:
            found[path] = ("folder", 0o755, b"")
            found |= expected(value, path + b"/")
    return found


def seen(folder: Path) -> Seen:
    found: Seen = {}
    top = os.fsencode(folder)
    for at, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(at, name)
            status, key = os.lstat(path), os.path.relpath(path, top)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", 0, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("folder", stat.S_IMODE(status.st_mode), b"")
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", stat.S_IMODE(status.st_mode), sha256(file.read()).digest())
    return found


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", MIXED)
    tree.publish("geo", "latest", UNZIPPED)
    return tree


@pytest.fixture
def running(tree: MemoryTree) -> Iterator[Serving]:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        yield running


def sh(script: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=folder, capture_output=True, timeout=120)


def fail_after(tree: MemoryTree, *, reads: int) -> None:
    """Have the store go away after so many reads."""
    left = iter(range(reads))

    def fail(operation: str) -> None:
        if operation == "read" and next(left, None) is None:
            raise StoreUnavailable("s3://bucket", "no route")

    tree.on_blocking = fail


CURL = "curl --disable --silent --show-error --fail --noproxy '*' --max-time 100"


@pytest.mark.parametrize(
    ("form", "program"),
    [("tar", "tar --extract --preserve-permissions"), ("tar", "bsdtar -xpf -"), ("zip", "bsdtar -xpf a.zip")],
)
def test_all_comes_out_as_it_was_published(running: Serving, tmp_path: Path, form: str, program: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    url = f"'{running.url}/fs/geo/1.0.0/?archive={form}'"
    fetched = sh(f"{CURL} {url} | {program}" if form == "tar" else f"{CURL} -o a.zip {url} && {program}", out)
    assert fetched.returncode == 0, fetched.stderr
    (out / "a.zip").unlink(missing_ok=True)
    assert seen(out) == expected(MIXED)
    far = out / ("p" * 150) / ("ü" * 100 + "😀")
    whole_s = 1_234_567_890
    assert far.stat().st_mtime_ns == (whole_s * 10**9 + 123_456_789 if form == "tar" else whole_s * 10**9)


def test_unzip_takes_a_zip_archive_apart(running: Serving, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"{CURL} -o a.zip '{running.url}/fs/geo/latest/?archive=zip' && unzip -tq a.zip && unzip -q a.zip -d out"
    done = sh(script, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen(out) == expected(UNZIPPED)


def test_python_takes_both_apart_while_they_come(running: Serving, tmp_path: Path) -> None:
    """A tar archive needs no file; for zip, the standard library does."""
    # Python 3.11.2, as Debian has it, knows no filters yet.
    filtered = "**({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {})"
    program = f"import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('out', {filtered})"
    done = sh(f"{CURL} '{running.url}/fs/geo/latest/?archive=tar' | {sys.executable} -c \"{program}\"", tmp_path)
    assert done.returncode == 0, done.stderr
    assert seen(tmp_path / "out") == expected(UNZIPPED)
    done = sh(
        f"{CURL} -o a.zip '{running.url}/fs/geo/latest/?archive=zip' && {sys.executable} -m zipfile --test a.zip",
        tmp_path,
    )
    assert done.stdout.strip() == b"Done testing", done


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_curl_keeps_an_archive_by_its_etag(running: Serving, tmp_path: Path, form: str) -> None:
    url = f"'{running.url}/fs/geo/1.0.0/sub?archive={form}'"
    code = "--write-out '%{http_code}'"
    assert sh(f"{CURL} --etag-save e -o a {code} {url}", tmp_path).stdout == b"200"
    first = (tmp_path / "a").read_bytes()
    assert sh(f"{CURL} --etag-compare e -o b {code} {url}", tmp_path).stdout == b"304"
    assert sh(f"{CURL} -o b {code} {url}", tmp_path).stdout == b"200"
    assert (tmp_path / "b").read_bytes() == first


@pytest.mark.parametrize("counted", [20_000, 3])  # with Content-Length; in chunks
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_curl_notices_an_archive_that_breaks_off(
    running: Serving, tree: MemoryTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, counted: int
) -> None:
    monkeypatch.setattr(archive, "COUNTED", counted)
    fail_after(tree, reads=4)
    done = sh(f"{CURL} -D head -o a '{running.url}/fs/geo/1.0.0/?archive={form}'", tmp_path)
    assert done.returncode == 18, done  # partial file
    assert b"200 OK" in (tmp_path / "head").read_bytes()
    assert (tmp_path / "a").stat().st_size > 0
    assert (b"Content-Length" in (tmp_path / "head").read_bytes()) is (counted > 3)


def test_an_http_1_0_client_sees_no_end_of_an_archive_that_breaks_off(
    running: Serving, tree: MemoryTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "COUNTED", 3)

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", running.port), 20) as sock:
            sock.sendall(b"GET /fs/geo/1.0.0/?archive=tar HTTP/1.0\r\nHost: x\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(65536), b""))

    assert ask().endswith(bytes(1024))
    fail_after(tree, reads=4)
    broken = ask()
    assert b"200 OK" in broken
    assert not broken.endswith(bytes(1024))


def test_readers_that_vanish_give_their_places_back(running: Serving) -> None:
    for _ in range(2 * archive.RUNNING):
        with socket.create_connection(("127.0.0.1", running.port), 20) as sock:
            sock.sendall(b"GET /fs/geo/1.0.0/?archive=tar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
