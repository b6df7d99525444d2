"""One gateway with login for all tests of a process. At its end nothing of its secrets stands in anything it wrote."""

from collections.abc import Iterator

import pytest

from tests.interop.guarded.gateway import PASSWORDS, PUBLISHED, Guarded


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A gateway of two workers with users, tokens and a policy."""
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    guarded.publish(PUBLISHED)
    guarded.token("ci", "read:maps", "read:@scope/*")
    guarded.token("all", "read:*", "read:@scope/*")
    guarded.start("--workers", "2")
    try:
        yield guarded
    finally:
        code = guarded.stop()
    assert code == 0
    written = guarded.written()
    assert b"Traceback" not in written, guarded.errors.read_text()
    for secret in (*PASSWORDS.values(), *guarded.tokens.values()):
        assert secret.encode() not in written
