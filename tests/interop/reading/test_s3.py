"""The commands that read, on a real S3 server: what is warm is served without it, what is damaged there is found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.app import cache_key, disk_cache
from gateway.config import load
from store.layout import PACKS
from store.objects.address import open_objects
from store.root import open_store
from store.vfs.opening import open_tree
from tests.support.s3 import S3Place
from tests.unit.store.care.test_verify import noise
from tests.unit.store.care.test_warm import Gone, read

pytestmark = pytest.mark.s3
LIMIT_S = 120
READER = {"AWS_ACCESS_KEY_ID": "s3readkey", "AWS_SECRET_ACCESS_KEY": "s3readsecret"}  # as tests/tools/s3-server has it


class Cli:
    """Runs the program as a user does."""

    def __init__(self, home: Path) -> None:
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        self.environment = {**os.environ, **dict.fromkeys(names, str(home))}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway.cli", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=self.environment, check=False
        )

    def json(self, *arguments: str | Path, exits: int = 0) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == exits, done.stderr
        return json.loads(done.stdout)


def test_reading_commands_on_a_real_server(
    seaweed_place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AETHERFS_STORE", "AETHERFS_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    address, folder = seaweed_place.address, tmp_path / "folder"
    cli = Cli(tmp_path / "home")
    folder.mkdir()
    (folder / "a").write_bytes(noise(1, 3_000_000))
    cli.json("init", "--store", address)
    planned = cli.json("push", folder, "-t", "ds:1.0.0", "--dry-run", "--store", address)
    done = cli.json("push", folder, "-t", "ds:1.0.0", "-t", "ds:latest", "--store", address)
    assert planned["new_bytes"] == done["new_bytes"] == 3_000_000
    assert planned["plan"]["puts"] <= done["puts"]
    (folder / "b").write_bytes(noise(2, 500_000))
    again = cli.json("push", folder, "-t", "ds:2.0.0", "--store", address, "--dry-run")
    assert (again["new_bytes"], again["reuse"][0]["shared_bytes"]) == (500_000, 3_000_000)
    assert cli.json("verify", "--deep", "--store", address)["ok"] is True
    assert cli.json("stats", "ds", "--store", address)["unique"] == 3_000_000
    assert cli.json("diff", "ds:1.0.0", "ds:latest", "--store", address)["differences"] == []

    warmed = cli.json("warm", "ds", "--store", address)
    assert warmed["fits"] is True
    assert cli.json("warm", "ds", "--store", address)["fetched_bytes"] == 0
    monkeypatch.setenv("XDG_STATE_HOME", cli.environment["XDG_STATE_HOME"])
    settings = load(flags={"store.url": address, "cache.dir": str(tmp_path / "home" / "aetherfs")}, file=None)
    cache = disk_cache(settings)
    assert str(cache) == warmed["cache"]
    objects = open_objects(address)
    gone = Gone(objects, method="get", only=PACKS)
    gone.calls_left = 0
    root = open_store(objects)
    tree = open_tree(
        gone, root, cache_memory=1 << 20, cache_dir=cache, cache_disk=1 << 30, cache_key=cache_key(settings, root)
    )
    try:
        assert read(tree, b"a") == noise(1, 3_000_000)
    finally:
        tree.close()

    (pack,) = (info.key for info in objects.list(PACKS))
    data = bytearray(objects.get(pack))
    data[1000] ^= 1
    objects.put(pack, bytes(data))
    (finding,) = cli.json("verify", "--deep", "--store", address, exits=6)["findings"]
    assert (finding["object"], finding["fault"], sorted(finding["touches"])) == (
        pack, "damaged", ["ds:1.0.0", "ds:latest"],
    )  # fmt: skip
    objects.delete(pack)
    (finding,) = cli.json("verify", "ds:latest", "--store", address, exits=6)["findings"]
    assert (finding["fault"], finding["files"][0]["path"]) == ("missing", "a")
    objects.close()


def test_a_dry_run_needs_no_right_to_write_and_foretells_what_the_push_does(
    seaweed_place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AETHERFS_STORE", "AETHERFS_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    owner, reader = Cli(tmp_path / "owner"), Cli(tmp_path / "reader")
    reader.environment |= READER
    store = ("--store", seaweed_place.address)
    folder = tmp_path / "folder"
    folder.mkdir()
    owner.json("init", *store)
    for number in range(2):
        (folder / f"f{number}").write_bytes(noise(number, 400_000))
        command = ("push", folder, "-t", f"ds:{number}.0.0", "-t", "ds:latest", *store)
        planned = reader.json(*command, "--dry-run")
        assert list((tmp_path / "reader").rglob("push/*")) == []
        done = owner.json(*command)
        same = ("manifest", "files", "bytes", "new_bytes", "reused_bytes", "stored_bytes", "puts")
        assert {name: planned[name] for name in same} == {name: done[name] for name in same}
    (folder / "more").write_bytes(b"more")
    denied = reader.run("push", folder, "-t", "ds:2.0.0", *store)
    assert (denied.returncode, "s3:PutObject" in denied.stderr) == (7, True)
