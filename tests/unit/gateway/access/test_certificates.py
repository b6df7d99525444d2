"""The file that says whose client certificates are, read again when it changes."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from auth.errors import BadCredentials
from auth.principal import user
from gateway.access.certificates import LOOK_S, Certificates
from gateway.config import ConfigError
from tests.support.authority import Authority

DER = Authority().issue("x", emails=["ada@example.org"], client=True).certificate.public_bytes(Encoding.DER)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += LOOK_S
        return self.now_s


def put(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def test_without_a_file_certificates_say_themselves() -> None:
    assert Certificates().principal(DER) == user("ada@example.org")


def test_a_changed_file_acts_and_one_that_is_no_good_does_not(tmp_path: Path) -> None:
    file = tmp_path / "users"
    put(file, "email:ada@example.org ada\n")
    certificates = Certificates(os.fspath(file), clock=Clock())
    assert certificates.principal(DER) == user("ada")
    put(file, "email:ada@example.org countess\n")
    assert certificates.principal(DER) == user("countess")
    put(file, "nonsense\n")
    assert certificates.principal(DER) == user("countess")
    file.unlink()
    assert certificates.principal(DER) == user("countess")
    put(file, "email:bob@example.org bob\n")
    with pytest.raises(BadCredentials):
        certificates.principal(DER)


def test_a_file_that_is_no_good_at_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Certificates(os.fspath(tmp_path / "none"))
    (tmp_path / "bad").write_text("x")
    with pytest.raises(ConfigError, match="line 1"):
        Certificates(os.fspath(tmp_path / "bad"))


def test_a_file_that_others_may_write_is_refused_and_does_not_act_later(tmp_path: Path) -> None:
    """Who may write it says who everybody is."""
    file = tmp_path / "users"
    put(file, "email:ada@example.org ada\n")
    certificates = Certificates(os.fspath(file), clock=Clock())
    fresh = tmp_path / "fresh"
    fresh.write_text("email:ada@example.org root\n")
    fresh.chmod(0o666)
    fresh.replace(file)
    assert certificates.principal(DER) == user("ada")
    with pytest.raises(ConfigError, match="by others than its owner"):
        Certificates(os.fspath(file))
