"""A gateway's cache folder, searched to the last byte: nothing of what it served stands in it, and its key can go."""

import os
import random
from pathlib import Path

import pytest

from tests.interop.serve.gateways import Gateway, Place
from tests.interop.serve.test_serve import get

pytestmark = pytest.mark.interop

CONTENT = random.Random(1).randbytes(5_000_000)  # nothing to compress: it stands in the store as it is
MARKS = [CONTENT[at : at + 24] for at in range(1000, len(CONTENT), 50_000)]
TEXT = b"MARK-of-a-text, short enough to be stored as it is"
NAME = b"MARK-of-a-name.txt"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.environment["AETHERFS_CACHE_DIR"] = str(
        tmp_path / "cache"
    )  # a folder store is cached only where one is named
    place.run("init")
    publish(place, tmp_path / "data")
    return place


def publish(place: Place, data: Path) -> None:
    data.mkdir()
    Path(os.fsdecode(os.path.join(os.fsencode(data), NAME))).write_bytes(CONTENT)
    (data / "small").write_bytes(TEXT)
    place.run("push", data, "-t", "marked:1.0.0")


def key_file(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".local" / "state" / "aetherfs" / "local.key"


def everything(folder: Path) -> bytes:
    return b"\n".join(
        os.fsencode(path) + b"\n" + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    )


def serve_all(gateway: Gateway) -> None:
    assert get(gateway, b"marked/1.0.0/" + NAME) == CONTENT
    assert get(gateway, b"marked/1.0.0/small") == TEXT


def test_nothing_that_was_served_stands_in_the_cache(place: Place, tmp_path: Path) -> None:
    state = str(place.run("show", "marked:1.0.0")["manifest"]).removeprefix("b3-")
    packs = [path.name for path in (tmp_path / "store" / "packs").rglob("*") if path.is_file()]
    with place.serve("--workers", "2") as gateway:
        serve_all(gateway)
        running = everything(tmp_path / "cache")
        assert gateway.stop() == 0
    stopped = everything(tmp_path / "cache")
    assert len(stopped) > len(CONTENT)
    told = [*MARKS, b"MARK-of", state.encode(), *map(str.encode, packs)]
    store = everything(tmp_path / "store")
    assert all(mark in store for mark in told)
    for found in (running, stopped):
        for mark in (*told, b"manifests/", b"packs/", bytes.fromhex(state), *map(bytes.fromhex, packs)):
            assert mark not in found
        assert key_file(tmp_path).read_bytes() not in found


def test_all_is_served_again_from_the_cache_alone_until_the_key_is_deleted(place: Place, tmp_path: Path) -> None:
    place.run("warm", "marked:1.0.0")
    assert place.run("warm", "marked:1.0.0")["fetched_bytes"] == 0
    before = {path for path in (tmp_path / "cache").rglob("*.val")}
    assert len(before) >= 4
    key = key_file(tmp_path).read_bytes()

    with place.serve() as gateway:
        key_file(tmp_path).unlink()
        serve_all(gateway)  # who runs has the key
        assert gateway.stop() == 0
    assert {path for path in (tmp_path / "cache").rglob("*.val")} == before

    with place.serve("--workers", "2") as gateway:
        serve_all(gateway)
        assert gateway.stop() == 0
    assert key_file(tmp_path).read_bytes() != key
    after = {path for path in (tmp_path / "cache").rglob("*.val")}
    assert after
    assert not after & before


def test_a_key_that_others_may_read_ends_the_start_with_what_to_do(place: Place, tmp_path: Path) -> None:
    place.run("warm", "marked:1.0.0")
    key_file(tmp_path).chmod(0o644)
    with pytest.raises(AssertionError, match=f"exit 2: .*chmod 600 {key_file(tmp_path)}"), place.serve():
        pass


def test_an_encrypted_store_is_cached_as_it_is_and_needs_no_local_key(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.environment["AETHERFS_CACHE_DIR"] = str(tmp_path / "cache")
    place.environment["AETHERFS_CACHE_KEY"] = "keyring"  # there is none here, and nobody asks for it
    place.run("init", "--encrypt")
    publish(place, tmp_path / "data")
    place.run("warm", "marked:1.0.0")
    with place.serve() as gateway:
        serve_all(gateway)
        assert gateway.stop() == 0
    found = everything(tmp_path / "cache")
    assert len(found) > len(CONTENT)
    assert not any(mark in found for mark in (*MARKS, b"MARK-of"))
    assert not key_file(tmp_path).exists()
