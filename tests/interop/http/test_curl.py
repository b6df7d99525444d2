"""curl against `/fs/`."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.trees import MemoryTree

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl"),
]


@pytest.fixture
def running() -> Iterator[Serving]:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("geo", "2.0.0", {b"large": BIG * 40, b"p.html": b"<p>"})
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        yield running


def curl(*arguments: str) -> bytes:
    command = [
        "curl",
        "--disable",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "60",
        "--noproxy",
        "*",
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, timeout=90).stdout


def test_curl_reads_a_file_whole(running: Serving) -> None:
    content = curl(f"{running.url}/fs/geo/2.0.0/large")
    assert hashlib.sha256(content).digest() == hashlib.sha256(BIG * 40).digest()


def test_curl_goes_on_with_a_download_that_was_cut(running: Serving, tmp_path: Path) -> None:
    part = tmp_path / "large"
    part.write_bytes((BIG * 40)[:1_234_567])
    curl("--continue-at", "-", "--output", os.fspath(part), f"{running.url}/fs/geo/2.0.0/large")
    assert part.read_bytes() == BIG * 40


def test_curl_fetches_again_only_what_changed(running: Serving, tmp_path: Path) -> None:
    etag, out = tmp_path / "etag", tmp_path / "out"
    url = f"{running.url}/fs/geo/1.0.0/a.txt"
    code = ["--write-out", "%{http_code}"]
    assert curl("--etag-save", os.fspath(etag), "--output", os.fspath(out), *code, url) == b"200"
    assert curl("--etag-compare", os.fspath(etag), "--output", os.fspath(out), *code, url) == b"304"
    assert out.read_bytes() == b"hello\n"


def test_curl_gets_several_ranges_as_parts(running: Serving, tmp_path: Path) -> None:
    head = tmp_path / "head"
    url = f"{running.url}/fs/geo/2.0.0/large"
    body = curl("--range", "0-9,500000-500009,-5", "--dump-header", os.fspath(head), url)
    fields = head.read_bytes()
    assert b" 206 " in fields
    assert b"\r\nContent-Type: multipart/byteranges; boundary=" in fields
    large = BIG * 40
    for start, stop in ((0, 10), (500000, 500010), (len(large) - 5, len(large))):
        part = (
            f"\r\nContent-Range: bytes {start}-{stop - 1}/{len(large)}\r\n\r\n".encode() + large[start:stop] + b"\r\n--"
        )
        assert part in body
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in fields
    assert curl("--range", "-5", url) == large[-5:]


def test_curl_keeps_the_name_that_a_saved_file_should_have(running: Serving, tmp_path: Path) -> None:
    curl(
        "--remote-name",
        "--remote-header-name",
        "--output-dir",
        os.fspath(tmp_path),
        f"{running.url}/fs/geo/2.0.0/p.html",
    )
    assert (tmp_path / "p.html").read_bytes() == b"<p>"
