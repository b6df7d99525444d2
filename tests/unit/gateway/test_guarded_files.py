"""Files that decide who may do what, or prove it: nobody else may change them, whichever setting names them."""

import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.access.oidc import read_secret
from gateway.config import ConfigError
from gateway.guarded_files import why_not
from gateway.tls import TlsFiles, TlsRefused, make_context
from tests.support.authority import Authority


def status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, owner, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (stat.S_IFREG | 0o600, os.geteuid(), ""),
        (stat.S_IFREG | 0o644, os.geteuid(), ""),
        (stat.S_IFREG | 0o640, 0, ""),  # as Debian's group ssl-cert has keys
        (stat.S_IFREG | 0o620, 0, "run `chmod go-w /the/file`"),
        (stat.S_IFREG | 0o602, os.geteuid(), "run `chmod go-w /the/file`"),
        (stat.S_IFREG | 0o600, os.geteuid() + 4321, "belongs to user number"),
        (stat.S_IFIFO | 0o600, os.geteuid(), "is no file"),
    ],
)
def test_a_file_is_its_owners_alone_to_change(mode: int, owner: int, said: str) -> None:
    why = why_not(status(mode, owner), "/the/file")
    assert bool(why) == bool(said)
    assert said in why


@pytest.mark.parametrize("which", ["key", "client_ca"])
def test_a_key_or_an_authority_that_others_may_change_is_refused(tmp_path: Path, which: str) -> None:
    authority = Authority()
    cert, key = authority.issue("server").write(tmp_path, "server")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.pem)
    files = TlsFiles(str(cert), str(key), str(clients))
    for mode in (0o600, 0o640):
        key.chmod(mode)
        clients.chmod(mode)
        make_context(files)
    Path(getattr(files, which)).chmod(0o660)
    with pytest.raises(TlsRefused, match="chmod go-w"):
        make_context(files)


def test_the_providers_secret_is_refused_where_others_may_change_it_and_warned_of_where_they_may_read(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the words\n")
    secret.chmod(0o666)
    with pytest.raises(ConfigError, match=r"auth\.x: .*chmod go-w") as refused:
        read_secret(str(secret), "auth.x", guarded=True)
    assert "the words" not in str(refused.value)
    assert read_secret(str(secret), "of a command", guarded=False) == "the words"
    for mode, warned in ((0o644, 1), (0o640, 0)):
        secret.chmod(mode)
        with capture_logs() as logs:
            assert read_secret(str(secret), "auth.x", guarded=True) == "the words"
        assert len(logs) == warned
