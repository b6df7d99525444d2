"""`aetherfs push --dry-run`: what it prints."""

from pathlib import Path

import pytest

from tests.unit.gateway.test_cli import Cli


def test_dry_run_says_what_would_be_written_what_it_costs_and_what_is_shared(cli: Cli, two_versions: Path) -> None:
    (two_versions / "more").write_bytes(b"m" * 5000)
    lines = cli("push", two_versions, "-t", "data:3.0.0", "--dry-run").splitlines()
    assert lines[0].startswith("data:3.0.0 would be b3-")
    assert lines[1] == "4 files, 6.4 KiB"
    assert lines[2].startswith("would write ")
    assert lines[2].endswith(" in 1 new chunk, 1 pack and a manifest: 6 PUTs")
    assert "$0.000030 once for requests (S3 Standard, us-east-1, list prices of 2025: --price-" in lines[3]
    assert lines[4].startswith("shared with data:2.0.0 data:latest: 1.5 KiB of 6.4 KiB (23 %)")
    assert lines[5].startswith("shared with data:1.0.0: 10 B of ")
    assert {tag["tag"] for tag in cli.json("ls", "data")["tags"]} == {"1.0.0", "2.0.0", "latest"}


def test_prices_can_be_given(cli: Cli, two_versions: Path) -> None:
    options = ["--dry-run", "--price-storage-gb-month", "1073741824", "--price-put-1000", "1000"]
    done = cli.json("push", two_versions, "-t", "data:3.0.0", *options)
    assert done["cost"]["prices"]["name"] == "prices as given"
    assert done["cost"]["requests"] == done["plan"]["puts"] == done["puts"] == 2
    assert done["cost"]["storage_month"] == pytest.approx(done["plan"]["stored_bytes"])
    cli("push", two_versions, "-t", "data:3.0.0", "--dry-run", "--price-put-1000", "-1", exits=2)


def test_a_conflict_is_foretold(cli: Cli, two_versions: Path) -> None:
    (two_versions / "more").write_bytes(b"m")
    out = cli("push", two_versions, "-t", "data:2.0.0", "--dry-run")
    assert "data:2.0.0 has other content" in out
    assert cli.json("push", two_versions, "-t", "data:2.0.0", "--dry-run")["plan"]["conflicts"] == ["2.0.0"]
