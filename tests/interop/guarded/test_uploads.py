"""Uploads of somebody who did not log in: however it is sent, its client sees the 401, and can log in and try again.

Some clients, Windows among them, read no answer before they have sent all of a body: where the connection is reset
meanwhile, what they see is a broken network.
"""

import shutil
import time
from pathlib import Path

import pytest

from tests.interop.dav.clients import RCLONE, needs_rclone, run
from tests.interop.guarded.gateway import BOB, Guarded, drained

MANY = 100_000_000  # bytes
TARGET = "/webdav/maps/1.0.0/new"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large"
    with file.open("wb") as out:
        out.truncate(MANY)
    return file


@needs_curl
@pytest.mark.interop
@pytest.mark.parametrize("expect", [True, False], ids=["asks first", "sends at once"])
@pytest.mark.parametrize("chunked", [True, False], ids=["in chunks", "with its length"])
def test_curl_sees_the_401(guarded: Guarded, large: Path, tmp_path: Path, *, expect: bool, chunked: bool) -> None:
    fields = ["Expect: 100-continue" if expect else "Expect:", *(["Transfer-Encoding: chunked"] if chunked else [])]
    more = [word for field in fields for word in ("-H", field)]
    done = run(tmp_path, "curl", "--silent", "--show-error", "--include", "-T", large, *more, f"{guarded.url}{TARGET}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"HTTP/1.1 401 ")
    assert b"log in: " in done.stdout


@needs_curl
@pytest.mark.interop
def test_curl_logs_in_when_it_is_asked_and_is_told_that_it_cannot_write(
    guarded: Guarded, large: Path, tmp_path: Path
) -> None:
    done = run(
        tmp_path, "curl", "--silent", "--show-error", "--include", "--anyauth", "--user", f"bob:{BOB}", "-T", large,
        f"{guarded.url}{TARGET}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 403 " in done.stdout
    assert b"read-only" in done.stdout


@needs_rclone
@pytest.mark.interop
@pytest.mark.parametrize("command", ["copy", "rcat"])
def test_rclone_sees_the_401(guarded: Guarded, large: Path, tmp_path: Path, command: str) -> None:
    assert RCLONE is not None
    options = ["--config", "", "--webdav-url", f"{guarded.url}/webdav", "--retries", "1", "--low-level-retries", "1"]
    if command == "copy":
        done = run(tmp_path, RCLONE, *options, "copy", large, ":webdav:/maps/1.0.0")
    else:  # of unknown length
        done = run(tmp_path, RCLONE, *options, "rcat", ":webdav:/maps/1.0.0/new", said="x" * 20_000_000)
    assert done.returncode != 0
    assert b"401" in done.stderr
    assert b"log in: " in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [True, False], ids=["in chunks", "with its length"])
def test_who_reads_nothing_before_all_is_sent_sees_the_401(guarded: Guarded, *, chunked: bool) -> None:
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {MANY}"
    piece = bytes(1_000_000)
    with guarded.connect() as sock:
        sock.sendall(f"PUT {TARGET} HTTP/1.1\r\nHost: gateway\r\n{how}\r\n\r\n".encode())
        for _ in range(MANY // len(piece)):  # for longer than the end of a connection is waited for
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(0.015)
        sock.sendall(b"0\r\n\r\n" if chunked else b"")
        answer = drained(sock)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_an_upload_that_is_refused_takes_no_memory(guarded: Guarded) -> None:
    """Ten at a time, none of which is kept."""
    before = guarded.memory()
    socks = [guarded.connect() for _ in range(10)]
    piece = bytes(1 << 20)
    for sock in socks:
        sock.sendall(f"PUT {TARGET} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {MANY}\r\n\r\n".encode())
    for _ in range(12):
        for sock in socks:
            sock.sendall(piece)
    assert guarded.memory() - before < 40 << 20
    for sock in socks:
        sock.close()


@needs_curl
@pytest.mark.interop
@pytest.mark.parametrize("target", ["/fs/maps/1.0.0/x", "/api/v1/tokens", "/api/v1/policy", "/ui/login", "/x"])
def test_curl_sees_what_it_is_told(guarded: Guarded, large: Path, tmp_path: Path, target: str) -> None:
    for method in ("PUT", "POST"):
        words = ["--silent", "--show-error", "--include", "-X", method, "-H", "Expect:", "-T", large]
        done = run(tmp_path, "curl", *words, f"{guarded.url}{target}")
        assert done.returncode == 0, done.stderr
        status = int(done.stdout.split(b" ", 2)[1])
        assert status == 401 or (target in ("/ui/login", "/x") and status in (400, 404, 405))
