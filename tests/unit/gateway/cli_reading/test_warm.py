"""`aetherfs warm`: what it prints, and how it exits."""

from pathlib import Path

import pytest

from tests.unit.gateway.test_cli import Cli


def test_a_folder_store_without_a_cache_needs_no_warming(cli: Cli, two_versions: Path) -> None:
    assert cli("warm", "data:1.0.0").endswith(" needs no warming\n")
    assert "cache.dir" in cli.err
    cli("warm", "data:1.0.0", "none", exits=3)
    cli("warm", "data:9.0.0", exits=3)


def test_warming_tells_what_was_fetched_and_a_second_time_nothing(
    cli: Cli, two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERFS_CACHE_DIR", str(tmp_path / "cache"))
    first = cli.json("warm", "data:2.0.0")
    assert (first["fits"], first["bytes"], first["cache"]) == (True, 1513, str(tmp_path / "cache" / "blocks"))
    assert first["fetched_bytes"] > 0
    assert cli.json("warm", "data:2.0.0")["fetched_bytes"] == 0
    assert cli("warm", "data:2.0.0", "sub").splitlines()[1] == "1 chunk, 10 B: 0 B fetched, the rest was there"
