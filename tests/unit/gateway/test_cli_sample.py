"""The parts of `make run` that need no network, and the lines that it prints for mounting."""

import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gateway import sample
from gateway.cli.mounting import mount_lines
from gateway.config import Address

PROJECT = Path(__file__).parents[3]


def test_pins_name_three_releases_and_a_digest_for_each() -> None:
    pins = sample.read_pins((PROJECT / "conf" / "sample.txt").read_text(encoding="utf-8"))
    assert len(pins) == len(set(pins)) == 3
    for pin in pins:
        requirement, digest = pin.split()
        assert requirement.startswith("pyproj==")
        assert len(digest.removeprefix("--hash=sha256:")) == 64


def test_only_the_data_of_a_wheel_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("pyproj/__init__.py", "code")
        archive.writestr(f"{sample.MEMBERS}proj.db", "data")
    data = sample.unpack(tmp_path / "a.whl", tmp_path / "out")
    assert [path.name for path in data.iterdir()] == ["proj.db"]
    assert not (tmp_path / "out" / "pyproj" / "__init__.py").exists()


@pytest.mark.parametrize(
    ("line", "http", "nfs"),
    [
        ("ready http=http://127.0.0.1:80 nfs=127.0.0.1:2049\n", Address("127.0.0.1", 80), Address("127.0.0.1", 2049)),
        ("ready nfs=[::1]:1\n", None, Address("::1", 1)),
    ],
)
def test_ready_line_is_read_back(line: str, http: Address | None, nfs: Address | None) -> None:
    assert list(sample.read_ready(line)) == [http, nfs]


def test_mount_lines_carry_what_each_client_needs() -> None:
    text = "\n".join(mount_lines(Address("127.0.0.1", 8080), Address("127.0.0.1", 2049)))
    assert "mount -t nfs -o vers=3,tcp,nolock,ro,port=2049,mountport=2049 127.0.0.1:/ /mnt" in text
    assert "locallocks" in text
    assert "net use Z: http://127.0.0.1:8080/webdav/" in text
    assert "--webdav-vendor owncloud" in text


def test_interfaces_that_are_off_have_no_mount_lines() -> None:
    assert not any("nfs" in line.lower() for line in mount_lines(Address("127.0.0.1", 1), None))
    assert mount_lines(None, None) == []


def test_readme_shows_the_same_mount_lines() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for line in mount_lines(Address("127.0.0.1", 8080), Address("127.0.0.1", 2049)):
        if line.startswith("  "):
            assert line.strip() in readme


def test_unpacking_again_gives_the_same_times_so_that_the_same_is_published(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr(zipfile.ZipInfo(f"{sample.MEMBERS}proj.db", (2024, 3, 4, 5, 6, 8)), b"data")
        wheel.writestr(zipfile.ZipInfo(f"{sample.MEMBERS}more/grid", (2023, 3, 4, 5, 6, 8)), b"grid")
    seen = []
    for run in ("first", "second"):
        data = sample.unpack(tmp_path / "a.whl", tmp_path / run)
        os.utime(tmp_path / run)
        seen.append({path.relative_to(data): path.stat().st_mtime_ns for path in [data, *data.rglob("*")]})
    assert seen[0] == seen[1]
    assert seen[0][Path()] == seen[0][Path("proj.db")] == 1_709_528_768_000_000_000


@pytest.mark.slow
def test_the_gateway_ends_with_what_has_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHERFS_STORE", str(tmp_path / "store"))
    for kind in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    sample.aetherfs("init")
    program = [sys.executable, "-c", "import sys; from gateway import sample; sys.exit(sample.serve())"]
    with subprocess.Popen(program, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        http, _ = sample.read_ready(started.stdout.readline())
        assert http is not None
        with socket.create_connection(http, timeout=20):
            pass
        started.terminate()
        assert started.wait(20) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(http, timeout=20)
