"""What all tests share: plugins, and how long hypothesis tries (`--hypothesis-profile dev|ci|deep`)."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from gateway.logs import LOUD_LIBRARIES

pytest_plugins = ["tests.support.s3", "tests.support.order"]

# A shared machine stalls now and then: time is no reason to fail an example.
settings.register_profile(
    "dev", max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dev")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what a program that ran within a test did to logging: its stream is closed with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if root.handlers != handlers:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in LOUD_LIBRARIES:
            logging.getLogger(name).setLevel(logging.NOTSET)
