"""What the tests of keys share: the home, runner and folder of the reading commands, and an encrypted store."""

import os
import random
from pathlib import Path

import pytest

from tests.support.vault import Vault
from tests.unit.gateway.cli_reading.conftest import cli as cli
from tests.unit.gateway.test_cli import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of a text, and of a file of several chunks and segments."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"a" * 1000)
    (source / "sub" / "large").write_bytes(random.Random(5).randbytes(700_000))
    return source


def vault_at(cli: Cli, path: Path, key_file: Path) -> Vault:
    """Make an encrypted store."""
    cli("init", "--encrypt", "--store", path, "--key-file", key_file)
    return Vault(path, key_file)


@pytest.fixture
def vault(cli: Cli, tmp_path: Path) -> Vault:
    """Return an empty encrypted store."""
    return vault_at(cli, tmp_path / "vault", tmp_path / "vault.key")


@pytest.fixture
def filled(cli: Cli, vault: Vault, folder: Path) -> Vault:
    """Return an encrypted store with `data:1.0.0` and `data:latest`, and `other:1.0.0` of another folder."""
    cli("push", folder, "-t", "data:1.0.0", "-t", "data:latest", *vault.flags)
    other = folder.with_name("other")
    other.mkdir()
    (other / "b").write_bytes(random.Random(6).randbytes(100_000))
    cli("push", other, "-t", "other:1.0.0", *vault.flags)
    return vault


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files below a folder, and when they were written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {os.fspath(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
