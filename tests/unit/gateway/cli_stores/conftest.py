"""What the tests share: the home, runner and folder of the reading commands, and a dataset in the embedded store."""

from pathlib import Path

import pytest

from tests.unit.gateway.cli_reading.conftest import cli as cli
from tests.unit.gateway.cli_reading.conftest import folder as folder
from tests.unit.gateway.test_cli import Cli


@pytest.fixture
def published(cli: Cli, folder: Path) -> str:
    """Return the state of `data:1.0.0` and `data:latest` in the embedded store."""
    state: str = cli.json("push", folder, "-t", "data:1.0.0", "-t", "data:latest", "-m", "first")["manifest"]
    return state
