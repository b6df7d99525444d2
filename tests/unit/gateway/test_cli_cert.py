"""`aetherfs cert self-signed`."""

import datetime
import os
import socket
import stat
import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.unit.gateway.cli_reading.conftest import cli as cli
from tests.unit.gateway.test_cli import Cli


def read(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def test_it_is_for_the_hosts_that_were_named(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tls"
    hosts = ["data.example.org", "192.0.2.7", "::1"]
    named = [word for host in hosts for word in ("--host", host)]
    told = cli.json("cert", "self-signed", *named, "--days", "30", "--out", folder)
    certificate = read(folder)
    assert names(certificate) == hosts == told["hosts"]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == datetime.timedelta(days=30, hours=1)
    assert told["sha256"].replace(":", "").lower() == certificate.fingerprint(SHA256()).hex()
    assert (told["cert"], told["key"]) == (str(folder / "cert.pem"), str(folder / "key.pem"))
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def test_it_is_for_this_machine_if_no_host_was_named_and_lies_beside_the_configuration(cli: Cli, home: Path) -> None:
    told = cli.json("cert", "self-signed")
    assert told["hosts"] == list(dict.fromkeys([socket.gethostname(), "localhost", "127.0.0.1", "::1"]))
    assert told["cert"] == str(home / "aetherfs" / "tls" / "cert.pem")


def test_what_it_prints_can_be_put_into_the_configuration(cli: Cli, tmp_path: Path) -> None:
    text = cli("cert", "self-signed", "--out", tmp_path / "tls").partition("configuration:\n")[2]
    assert tomllib.loads(text) == {
        "http": {"tls_cert": str(tmp_path / "tls" / "cert.pem"), "tls_key": str(tmp_path / "tls" / "key.pem")}
    }
    file = tmp_path / "aetherfs.toml"
    file.write_text(text)
    cli("config", "check", file)


@pytest.mark.parametrize("there", ["cert.pem", "key.pem"])
def test_what_is_there_is_replaced_by_force_alone(cli: Cli, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    cli("cert", "self-signed", "--out", tmp_path, exits=5)
    assert there in cli.err
    assert "--force" in cli.err
    assert os.listdir(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "mine"
    cli("cert", "self-signed", "--out", tmp_path, "--force")
    assert sorted(os.listdir(tmp_path)) == ["cert.pem", "key.pem"]
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("host", ["", "a b", "-x", "x..y", "https://x", "x:443", "b\u00fccher.example", "x" * 64])
def test_what_is_no_host_is_wrong_usage(cli: Cli, tmp_path: Path, host: str) -> None:
    cli("cert", "self-signed", "--host", host, "--out", tmp_path / "tls", exits=2)
    assert "--host" in cli.err
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("days", ["0", "-1", "4000", "x"])
def test_days_have_bounds(cli: Cli, tmp_path: Path, days: str) -> None:
    cli("cert", "self-signed", "--days", days, "--out", tmp_path / "tls", exits=2)
    assert not (tmp_path / "tls").exists()
