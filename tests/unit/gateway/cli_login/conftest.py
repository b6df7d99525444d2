"""What the tests of users and policies share: the runner, and what is typed into it."""

import io
import sys
from collections.abc import Callable

import pytest

from tests.unit.gateway.cli_reading.conftest import cli as cli

Say = Callable[[bytes], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Return what makes these bytes the standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
