"""webdav4 (PyPI), a client on httpx, and the file system that it gives fsspec."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from webdav4.client import Client, ForbiddenOperation, HTTPError, ResourceNotFound
from webdav4.fsspec import WebdavFileSystem

from tests.conformance.tree_cases import BIG, HARD_NAMES
from tests.interop.dav.shown import GEO, NUMBERS
from tests.support.relay import Relay

pytestmark = pytest.mark.interop


@pytest.fixture
def client(relay: Relay) -> Iterator[Client]:
    client = Client(f"{relay.url}/webdav/geo/1.0.0", trust_env=False)
    yield client
    client.http.close()


def test_webdav4_lists_sizes_types_and_tags(client: Client) -> None:
    rows = {row["name"]: row for row in client.ls("", detail=True)}
    assert set(rows) == {name.decode() for name in GEO}
    assert rows["a.txt"]["content_length"] == 6
    assert rows["a.txt"]["etag"] == '"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"'
    assert rows["a.txt"]["modified"].timestamp() == 1_700_000_000
    assert (rows["a.txt"]["type"], rows["sub"]["type"]) == ("file", "directory")


def test_webdav4_reads_every_name_that_an_address_of_its_can_hold(client: Client) -> None:
    names = [name for name in HARD_NAMES if not set(name) & set(b"#?\n\xff")]
    assert len(names) >= 8
    for name in names:
        got = BytesIO()
        client.download_fileobj(f"names/{name.decode()}", got)
        assert got.getvalue() == name


def test_webdav4_downloads_seeks_and_misses(client: Client, relay: Relay, tmp_path: Path) -> None:
    client.download_file("big.bin", str(tmp_path / "big.bin"))
    assert (tmp_path / "big.bin").read_bytes() == BIG
    with client.open("numbers", "rb", chunk_size=4096) as numbers:
        numbers.seek(400_000)
        assert numbers.read(8) == b"0050000\n"
        numbers.seek(8)
        assert numbers.read(8) == b"0000001\n"
    assert [x.status for x in relay.exchanges if x.method == "GET" and "numbers" in x.target][-1] == 206
    assert client.exists("sub/deep/leaf")
    assert not client.exists("sub/shallow")
    with pytest.raises(ResourceNotFound):
        client.info("nothing")


def test_webdav4_asks_of_folders_with_a_depth_that_it_must_be_given(relay: Relay, client: Client) -> None:
    # It asks of one thing without a Depth, which means infinity, and has no end but at files.
    with pytest.raises(HTTPError, match="403"):
        client.isdir("sub")
    given = Client(f"{relay.url}/webdav/geo/1.0.0", headers={"Depth": "0"}, trust_env=False)
    assert given.isdir("sub")
    assert given.exists("sub/deep")
    assert not given.isdir("a.txt")
    assert len(given.ls("", detail=False)) == len(GEO)
    given.http.close()


def test_webdav4_is_refused_when_it_writes(client: Client) -> None:
    with pytest.raises(HTTPError, match="403"):
        client.upload_fileobj(BytesIO(b"new"), "new")
    with pytest.raises(HTTPError, match="403"):
        client.remove("a.txt")
    with pytest.raises(ForbiddenOperation):
        client.mkdir("folder")


def test_fsspec_walks_and_reads_a_part(relay: Relay) -> None:
    files = WebdavFileSystem(f"{relay.url}/webdav/geo/1.0.0", trust_env=False, skip_instance_cache=True)
    assert sorted(files.find("sub")) == ["sub/deep/leaf"]
    assert files.cat("a.txt") == b"hello\n"
    with files.open("numbers", "rb") as numbers:
        numbers.seek(len(NUMBERS) - 8)
        assert numbers.read() == b"0099999\n"
    files.client.http.close()
