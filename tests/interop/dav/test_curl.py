"""curl against `/webdav/`: what a person types to see what a gateway says."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.interop.dav.clients import run
from tests.interop.dav.shown import NUMBERS
from tests.support.relay import Relay

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl"),
]


def curl(home: Path, *arguments: str | Path) -> bytes:
    done = run(home, "curl", "--disable", "--silent", "--show-error", "--max-time", "30", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_lists_a_folder(relay: Relay, tmp_path: Path) -> None:
    body = curl(tmp_path, "-X", "PROPFIND", "-H", "Depth: 1", f"{relay.url}/webdav/geo/1.0.0/sub")
    hrefs = [element.text for element in ElementTree.fromstring(body).iter("{DAV:}href")]
    assert hrefs == [f"/webdav/geo/1.0.0/sub/{name}" for name in ("", "deep/", "empty/")]


def test_curl_takes_a_compressed_listing(relay: Relay, tmp_path: Path) -> None:
    ask = ["-X", "PROPFIND", "-H", "Depth: 1", f"{relay.url}/webdav/geo/1.0.0/"]
    plain = curl(tmp_path, *ask)
    assert curl(tmp_path, "--compressed", *ask) == plain
    first, second = (exchange.answer for exchange in relay.exchanges)
    assert b"Content-Encoding: gzip" not in first
    assert b"Content-Encoding: gzip" in second
    assert len(second) < len(first) / 2


def test_curl_follows_from_where_a_download_was_cut(relay: Relay, tmp_path: Path) -> None:
    part = tmp_path / "numbers"
    part.write_bytes(NUMBERS[:123_456])
    curl(tmp_path, "--continue-at", "-", "--output", part, f"{relay.url}/webdav/geo/1.0.0/numbers")
    assert part.read_bytes() == NUMBERS
    assert relay.exchanges[-1].status == 206


def test_decomposed_names_are_found(relay: Relay, tmp_path: Path) -> None:
    assert curl(tmp_path, f"{relay.url}/webdav/geo/1.0.0/cafe%CC%81") == b"composed"


def test_a_large_upload_is_refused_with_the_reason(relay: Relay, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(8 << 20))
    said = curl(tmp_path, "--upload-file", large, f"{relay.url}/webdav/geo/1.0.0/large")
    assert b"read-only" in said
    assert b"aetherfs push" in said
    assert [exchange.status for exchange in relay.exchanges] == [403]


@pytest.mark.parametrize("depth", ["infinity", "2", ""])
def test_no_listing_has_no_end(relay: Relay, tmp_path: Path, depth: str) -> None:
    said = curl(tmp_path, "-X", "PROPFIND", "-H", f"Depth: {depth}", "-i", f"{relay.url}/webdav/geo/1.0.0/")
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"propfind-finite-depth" in said
