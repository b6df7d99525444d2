"""What the tests of the reading commands share: a home of their own, a runner, a folder."""

from pathlib import Path

import pytest

from tests.unit.gateway.test_cli import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"a" * 1000)
    (source / "sub" / "run").write_bytes(b"#!/bin/sh\n")
    (source / "link").symlink_to("a.txt")
    return source


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capfd)


@pytest.fixture
def two_versions(cli: Cli, folder: Path) -> Path:
    """Return the folder as it is in `data:2.0.0`; `data:1.0.0` had other files."""
    cli("push", folder, "-t", "data:1.0.0")
    (folder / "a.txt").write_bytes(b"b" * 1500)
    (folder / "sub" / "run").chmod(0o755)
    (folder / "new").write_bytes(b"new")
    (folder / "link").unlink()
    cli("push", folder, "-t", "data:2.0.0", "-t", "data:latest")
    return folder
