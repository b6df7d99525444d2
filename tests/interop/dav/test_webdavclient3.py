"""webdavclient3 (PyPI), the client of many scripts, on requests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from webdav3.client import Client
from webdav3.exceptions import RemoteResourceNotFound, ResponseErrorCode

from tests.conformance.tree_cases import BIG
from tests.interop.dav.clients import below
from tests.interop.dav.shown import GEO
from tests.support.relay import Relay

pytestmark = pytest.mark.interop


@pytest.fixture
def client(relay: Relay) -> Iterator[Client]:
    options = {"webdav_hostname": relay.url, "webdav_root": "/webdav/geo/1.0.0", "webdav_timeout": 30}
    client = Client(options)
    client.session.trust_env = False
    yield client
    client.session.close()


def test_webdavclient3_lists_looks_and_checks(client: Client) -> None:
    names = client.list("/")
    assert {name.rstrip("/") for name in names} == {name.decode() for name in GEO}
    assert "sub/" in names
    assert client.check("a.txt")
    assert not client.check("nothing")
    assert client.is_dir("sub/")
    info = client.info("a.txt")
    assert info["size"] == "6"
    assert info["etag"] == '"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"'
    with pytest.raises(RemoteResourceNotFound):
        client.info("nothing")


def test_webdavclient3_downloads_a_file_and_a_folder(client: Client, tmp_path: Path) -> None:
    client.download_sync(remote_path="big.bin", local_path=str(tmp_path / "big.bin"))
    assert (tmp_path / "big.bin").read_bytes() == BIG
    client.download_sync(remote_path="sub/", local_path=str(tmp_path / "sub"))
    assert below(tmp_path / "sub") == {b"deep/leaf": b"leaf"}


def test_webdavclient3_pulls_a_folder_once(client: Client, relay: Relay, tmp_path: Path) -> None:
    client.pull("sub/", str(tmp_path))
    assert below(tmp_path) == {b"deep/leaf": b"leaf"}
    first = relay.asked("GET")
    client.pull("sub/", str(tmp_path))
    assert relay.asked("GET") == first


def test_webdavclient3_is_refused_when_it_writes(client: Client, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(ResponseErrorCode, match="403"):
        client.upload_sync(remote_path="new", local_path=str(tmp_path / "new"))
    with pytest.raises(ResponseErrorCode, match="403"):
        client.clean("a.txt")
    with pytest.raises(ResponseErrorCode, match="403"):
        client.mkdir("folder")
