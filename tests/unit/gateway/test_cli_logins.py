"""Saved logins: who can read them, where they lie, what damaged ones say, and when they are renewed."""

import json
import stat
import time
from pathlib import Path

import keyring
import pytest

from gateway.cli.credentials import bearer_for
from gateway.cli.logins import OIDC, TOKEN, Saved, find_login, forget_login, keep_login, locked, logins_file
from gateway.config import ConfigError
from gateway.errors import ServerUnreachable

HERE, THERE = "https://data.example.org", "https://other.example.org:8443"
LOGIN = Saved(TOKEN, "aefs_one", name="login-ada")


def keep(server: str, saved: Saved, *, in_keyring: bool | None = None) -> None:
    with locked():
        keep_login(server, saved, keyring=in_keyring)


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory, of the library's own kind."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of the library
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    ring = Ring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)
    return ring


def test_each_gateway_has_a_login_of_its_own() -> None:
    keep(HERE, LOGIN)
    keep(THERE, LOGIN._replace(bearer="aefs_two"))
    assert (bearer_for(HERE), bearer_for(THERE), bearer_for("https://third")) == ("aefs_one", "aefs_two", None)
    assert forget_login(HERE)
    assert not forget_login(HERE)
    assert (bearer_for(HERE), bearer_for(THERE)) == (None, "aefs_two")


def test_a_token_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(HERE, LOGIN)
    monkeypatch.setenv("AETHERFS_TOKEN", "aefs_env")
    assert bearer_for(HERE) == "aefs_env"


def test_nobody_else_can_read_them(home: Path) -> None:
    keep(HERE, LOGIN)
    assert stat.S_IMODE(logins_file().stat().st_mode) == 0o600
    logins_file().chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        bearer_for(HERE)


@pytest.mark.parametrize("data", ["", "[]", "{", '{"version": 2, "servers": {}}', '{"version": 1}', "[" * 100_000])
def test_a_damaged_file_is_told_and_nothing_of_it_shown(data: str) -> None:
    keep(HERE, LOGIN)
    logins_file().write_text(data)
    with pytest.raises(ConfigError, match="delete it, and log in again"):
        find_login(HERE)


def test_entries_that_are_none_are_passed_over() -> None:
    keep(HERE, LOGIN)
    document = json.loads(logins_file().read_text())
    document["servers"] |= {THERE: {"kind": "oidc"}, "https://third": {"bearer": "x", "expires_s": "soon"}, "x": 7}
    logins_file().write_text(json.dumps(document))
    assert [find_login(server) for server in (HERE, THERE, "https://third", "x")] == [LOGIN, None, None, None]


def test_a_file_that_cannot_be_written_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(HERE, LOGIN)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        keep(HERE, LOGIN._replace(bearer="aefs_new"))
    assert bearer_for(HERE) == "aefs_one"
    assert sorted(path.name for path in logins_file().parent.iterdir()) == ["logins.json", "logins.lock"]


def test_a_login_may_lie_in_the_keyring_and_stays_there(ring: Ring) -> None:
    keep(HERE, LOGIN, in_keyring=True)
    assert "aefs_one" not in logins_file().read_text()
    assert bearer_for(HERE) == "aefs_one"
    keep(HERE, LOGIN._replace(bearer="aefs_renewed"))  # as a renewal does
    assert "aefs_renewed" not in logins_file().read_text()
    assert bearer_for(HERE) == "aefs_renewed"
    keep(HERE, LOGIN, in_keyring=False)
    assert ring.kept == {}
    keep(HERE, LOGIN, in_keyring=True)
    assert forget_login(HERE)
    assert ring.kept == {}


def test_a_login_that_can_not_be_renewed_is_sent_as_long_as_it_is_there() -> None:
    keep(HERE, Saved(OIDC, "a.b.c", expires_s=time.time() - 1))
    assert bearer_for(HERE) == "a.b.c"  # the gateway says what is wrong with it


def test_a_login_is_used_to_its_end_while_the_provider_is_away() -> None:
    saved = Saved(OIDC, "a.b.c", time.time() + 30, "refresh", "http://127.0.0.1:1", "aetherfs")
    keep(HERE, saved)
    assert bearer_for(HERE) == "a.b.c"
    keep(HERE, saved._replace(expires_s=time.time() - 1))
    with pytest.raises(ServerUnreachable):
        bearer_for(HERE)
    assert find_login(HERE) is not None
