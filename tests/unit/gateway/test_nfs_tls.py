"""Which settings make NFS speak TLS, and what is said of those that cannot."""

import dataclasses
from pathlib import Path

import pytest

from gateway.app import nfs_tls
from gateway.config import ConfigError, NfsSettings, Settings
from tests.support.authority import Authority


def settings(**nfs: str | Path) -> Settings:
    return dataclasses.replace(Settings(), nfs=NfsSettings(**{name: str(value) for name, value in nfs.items()}))  # type: ignore[arg-type]  # these are texts


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return Authority().issue("server").write(tmp_path, "server")


def test_tls_is_off_unless_it_is_wanted(pair: tuple[Path, Path]) -> None:
    assert nfs_tls(settings(tls_cert=pair[0], tls_key=pair[1])) is None


@pytest.mark.parametrize(("wanted", "required"), [("allow", False), ("require", True)])
def test_tls_may_be_wanted_or_needed(pair: tuple[Path, Path], wanted: str, required: bool) -> None:
    tls = nfs_tls(settings(tls=wanted, tls_cert=pair[0], tls_key=pair[1]))
    assert tls is not None
    assert tls.required is required


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_a_file_that_is_not_set_is_asked_for_by_its_name(pair: tuple[Path, Path], missing: str) -> None:
    given = {"tls_cert": pair[0], "tls_key": pair[1]}
    del given[missing]
    with pytest.raises(ConfigError, match=f"nfs.{missing}: TLS needs this file"):
        nfs_tls(settings(tls="require", **given))


def test_files_that_are_no_good_are_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = Authority().issue("another").write(tmp_path, "another")
    with pytest.raises(ConfigError, match=r"another\.key is not that of the certificate in .*server\.pem"):
        nfs_tls(settings(tls="allow", tls_cert=pair[0], tls_key=other[1]))
    with pytest.raises(ConfigError, match=r"nowhere\.pem can't be read"):
        nfs_tls(settings(tls="allow", tls_cert=pair[0], tls_key=pair[1], client_ca=tmp_path / "nowhere.pem"))
