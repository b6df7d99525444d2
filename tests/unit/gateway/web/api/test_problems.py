"""Every reason for which an operation is not done has its HTTP status."""

import pytest

from gateway.operations.errors import LoginNeeded, OperationError
from gateway.web.api.problems import STATUS, problem_of


@pytest.mark.parametrize("kind", OperationError.__subclasses__())
def test_every_reason_has_its_own_status(kind: type[OperationError]) -> None:
    assert kind in STATUS
    assert 400 <= STATUS[kind] < 500


def test_who_is_asked_to_log_in_is_told_how() -> None:
    found = problem_of(LoginNeeded())
    assert found.status == 401
    assert {name for name, _ in found.headers} == {"WWW-Authenticate"}
