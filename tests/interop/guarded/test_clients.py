"""Programs that people use, logging in by whatever they have: user and password, a token as the password, or Bearer.

Each reads what its login may see, is told no more than that, and is refused with a login that is not good.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from webdav3.client import Client as ScriptClient
from webdav3.exceptions import RemoteResourceNotFound, ResponseErrorCode
from webdav4.client import Client, HTTPError, ResourceNotFound
from webdav4.fsspec import WebdavFileSystem

from tests.interop.dav.clients import RCLONE, below, needs_rclone, run
from tests.interop.dav.shown import NUMBERS, flat
from tests.interop.guarded.gateway import ADA, BOB, COMMON, SECRET, Guarded
from tests.support.relay import Relay

pytestmark = pytest.mark.interop

WAYS = ["password", "token as password", "bearer_token", "bearer_token_command"]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
needs_cadaver = pytest.mark.skipif(shutil.which("cadaver") is None, reason="needs cadaver: apt-get install cadaver")


@pytest.fixture
def relay(guarded: Guarded) -> Iterator[Relay]:
    """Keeps what the client of one test asks."""
    with Relay(guarded.url) as relay:
        yield relay


def rclone(
    home: Path, url: str, options: Mapping[str, str], *arguments: str | Path
) -> subprocess.CompletedProcess[bytes]:
    """Run rclone with a file of settings, as `rclone config create` writes it; `at:` is the gateway."""
    assert RCLONE is not None
    settings = {"type": "webdav", "url": f"{url}/webdav", "vendor": "owncloud", "pacer_min_sleep": "0", **options}
    config = home / "rclone.conf"
    config.write_text("".join(["[at]\n", *(f"{name} = {value}\n" for name, value in settings.items())]))
    few = ("--retries", "1", "--low-level-retries", "1", "--stats", "0")
    return run(home, RCLONE, "--config", config, *few, *arguments)


def rclone_login(home: Path, guarded: Guarded, way: str) -> dict[str, str]:
    """Return the settings of a way to log in."""
    assert RCLONE is not None
    token = guarded.tokens["ci"]
    if way == "bearer_token":
        return {"bearer_token": token}
    if way == "bearer_token_command":
        command = home / "say-token"
        command.write_text(f"#!/bin/sh\necho {token}\n")
        command.chmod(0o700)
        return {"bearer_token_command": str(command)}
    password = ADA if way == "password" else token
    obscured = run(home, RCLONE, "obscure", "-", said=password)
    assert obscured.returncode == 0, obscured.stderr
    return {"user": "ada" if way == "password" else "anything", "pass": obscured.stdout.decode().strip()}


@needs_rclone
@pytest.mark.parametrize("way", WAYS)
def test_rclone_copies_and_checks(guarded: Guarded, relay: Relay, tmp_path: Path, way: str) -> None:
    login = rclone_login(tmp_path, guarded, way)
    out = tmp_path / "out"
    copied = rclone(tmp_path, relay.url, login, "copy", "at:maps/1.0.0", out)
    assert copied.returncode == 0, copied.stderr
    assert below(out) == flat(COMMON)
    relay.exchanges.clear()
    checked = rclone(tmp_path, relay.url, login, "check", "at:maps/1.0.0", out)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(flat(COMMON))} matching files".encode() in checked.stderr
    assert {exchange.method for exchange in relay.exchanges} == {"PROPFIND"}
    hidden = rclone(tmp_path, relay.url, login, "lsf", "at:")
    assert hidden.returncode == 0, hidden.stderr
    seen = set(hidden.stdout.decode().split())
    assert {"maps/", "@scope/"} <= seen
    assert ("secret/" in seen) == (way == "password")


@needs_rclone
def test_rclone_says_that_a_login_is_not_good(guarded: Guarded, tmp_path: Path) -> None:
    done = rclone(tmp_path, guarded.url, {"bearer_token": guarded.tokens["ci"][:-1] + "0"}, "lsf", "at:maps/1.0.0")
    assert done.returncode != 0
    assert b"401" in done.stderr
    unknown = rclone(tmp_path, guarded.url, {}, "lsf", "at:maps/1.0.0")
    assert unknown.returncode != 0
    assert b"401" in unknown.stderr


@needs_curl
def test_curl_logs_in_by_all_that_it_has(guarded: Guarded, tmp_path: Path) -> None:
    host = guarded.netloc.partition(":")[0]
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host} login bob password {BOB}\n")
    netrc.chmod(0o600)
    settings = tmp_path / "curlrc"
    settings.write_text(f'header = "Authorization: Bearer {guarded.tokens["ci"]}"\n')
    ways: list[list[str | Path]] = [
        ["--user", f"ada:{ADA}"],
        ["--user", f"ada:{ADA}", "--anyauth"],  # asks without first, and reads the challenges
        ["--user", f"-:{guarded.tokens['ci']}"],
        ["--oauth2-bearer", guarded.tokens["ci"]],
        ["--netrc-file", netrc],
        ["--config", settings],
    ]
    for way in ways:
        done = run(tmp_path, "curl", "--silent", "--show-error", "--fail", *way, f"{guarded.url}/fs/maps/1.0.0/numbers")
        assert done.returncode == 0, (way[0], done.stderr)
        assert done.stdout == NUMBERS
    # A redirect to another host would take nothing along; here none is sent at all.
    said = run(tmp_path, "curl", "--silent", "-o", os.devnull, "-w", "%{http_code} %{num_redirects}", "--location",
               f"{guarded.url}/fs/maps/1.0.0/numbers")  # fmt: skip
    assert said.stdout == b"401 0"


@needs_cadaver
def test_cadaver_logs_in_by_netrc(guarded: Guarded, tmp_path: Path) -> None:
    host = guarded.netloc.partition(":")[0]
    for login, password in (("bob", BOB), ("anything", guarded.tokens["ci"])):
        (tmp_path / ".netrc").write_text(f"machine {host}\nlogin {login}\npassword {password}\n")
        (tmp_path / ".netrc").chmod(0o600)
        (tmp_path / "numbers").unlink(missing_ok=True)
        said = run(tmp_path, "cadaver", f"{guarded.url}/webdav/maps/1.0.0/", said="ls\nget numbers\nquit\n").stdout
        assert b"Coll:   sub" in said
        assert (tmp_path / "numbers").read_bytes() == NUMBERS
    hidden = run(tmp_path, "cadaver", f"{guarded.url}/webdav/secret/1.0.0/", said="ls\nquit\n").stdout
    assert b"404" in hidden
    assert b"secret.txt" not in hidden


@pytest.mark.parametrize("way", ["password", "token as password", "bearer"])
def test_webdav4_logs_in(guarded: Guarded, way: str) -> None:
    token = guarded.tokens["ci"]
    auth = {"password": ("ada", ADA), "token as password": ("x", token), "bearer": None}[way]
    headers = {"Authorization": f"Bearer {token}"} if auth is None else {}
    client = Client(f"{guarded.url}/webdav", auth=auth, headers=headers, trust_env=False)
    assert {"maps", "@scope"} <= set(client.ls("", detail=False))
    assert client.exists("secret/1.0.0/secret.txt") == (way == "password")
    if way == "bearer":
        with pytest.raises(ResourceNotFound):
            client.info("secret/1.0.0/secret.txt")
    client.http.close()
    files = WebdavFileSystem(
        f"{guarded.url}/webdav/maps/1.0.0", auth=auth, headers=headers, trust_env=False, skip_instance_cache=True
    )
    with files.open("numbers", "rb") as numbers:
        numbers.seek(400_000)
        assert numbers.read(8) == b"0050000\n"
    files.client.http.close()
    nobody = Client(f"{guarded.url}/webdav/maps/1.0.0", auth=httpx.BasicAuth("x", f"{token}0"), trust_env=False)
    with pytest.raises(HTTPError, match="401"):
        nobody.ls("")
    nobody.http.close()


@pytest.mark.parametrize("way", ["password", "token as password", "bearer"])
def test_webdavclient3_logs_in(guarded: Guarded, tmp_path: Path, way: str) -> None:
    token = guarded.tokens["ci"]
    login = {
        "password": {"webdav_login": "bob", "webdav_password": BOB},
        "token as password": {"webdav_login": "x", "webdav_password": token},
        "bearer": {"webdav_token": token},
    }[way]
    client = ScriptClient({"webdav_hostname": guarded.url, "webdav_root": "/webdav", "webdav_timeout": 30, **login})
    client.session.trust_env = False
    assert "maps/" in client.list("/")
    client.download_sync(remote_path="maps/1.0.0/numbers", local_path=str(tmp_path / "numbers"))
    assert (tmp_path / "numbers").read_bytes() == NUMBERS
    with pytest.raises(RemoteResourceNotFound):
        client.info("secret/1.0.0/secret.txt")
    client.session.close()
    nobody = ScriptClient({"webdav_hostname": guarded.url, "webdav_root": "/webdav", "webdav_token": token[:-1]})
    nobody.session.trust_env = False
    with pytest.raises(ResponseErrorCode, match="401"):
        nobody.list("/maps/")
    nobody.session.close()


def test_a_secret_is_read_by_whom_it_is_for(guarded: Guarded, tmp_path: Path) -> None:
    given = Client(f"{guarded.url}/webdav", auth=("ada", ADA), trust_env=False)
    given.download_file("secret/1.0.0/secret.txt", str(tmp_path / "secret"))
    given.http.close()
    assert (tmp_path / "secret").read_bytes() == SECRET
