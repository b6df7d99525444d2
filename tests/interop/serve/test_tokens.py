"""Tokens as users have them: whole gateways on one store, curl as the client, the commands against both."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from auth.errors import BadCredentials
from auth.tokens import HTTP, parse_rules
from gateway.access.tokens import Tokens
from gateway.errors import TokenTaken
from store.objects.address import open_objects
from tests.interop.serve.gateways import DEADLINE_S, Place, write_sample
from tests.support.s3 import S3Place

pytestmark = pytest.mark.interop

POLICY = """
[[rule]]
allow = ["read", "tag"]
to = ["user:ada"]
on = ["maps"]
"""
PASSWORD = "correct horse battery staple"


def set_up(place: Place, top: Path) -> None:
    """Publish two datasets, and let ada read one of them."""
    for dataset in ("maps", "secret"):
        folder = top / dataset
        folder.mkdir()
        write_sample(folder, seed=dataset.encode())
        place.run("push", folder, "-t", f"{dataset}:1.0.0")
    users = top / "users"
    place.environment["AETHERFS_AUTH_BASIC_HTPASSWD"] = str(users)
    subprocess.run(
        [sys.executable, "-P", "-m", "gateway.cli", "user", "add", "ada"], input=PASSWORD + "\n", text=True, check=True,
        capture_output=True, env=place.environment, timeout=DEADLINE_S,
    )  # fmt: skip
    (top / "policy.toml").write_text(POLICY)
    place.environment["AETHERFS_AUTH_POLICY"] = str(top / "policy.toml")
    place.environment["AETHERFS_AUTH_AUDIT_LOG"] = str(top / "audit.log")


def curl(url: str, *arguments: str) -> tuple[int, bytes]:
    """Ask as curl does; return the status and the body."""
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{stderr}%{http_code}", *arguments, url], capture_output=True, timeout=DEADLINE_S,
        check=True,
    )  # fmt: skip
    return int(done.stderr), done.stdout


def make(url: str, wish: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    status, body = curl(
        f"{url}/api/v1/tokens", "-u", f"ada:{PASSWORD}", "-H", "Content-Type: application/json", "-d", json.dumps(wish)
    )
    return status, json.loads(body)


@pytest.mark.slow
def test_a_token_is_good_everywhere_until_it_is_revoked_and_then_nowhere(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    set_up(place, tmp_path)
    with place.serve(nfs="off") as one, place.serve("--workers", "2", nfs="off") as other:
        status, made = make(one.http, {"name": "ci", "rules": ["read,push,admin:*"], "expires": "1d"})
        assert (status, made["owner"]) == (201, "user:ada")
        token = made["token"]
        file = "/fs/maps/1.0.0/deep/er/plain.txt"
        for gateway in (one, other):
            for login in (("-H", f"Authorization: Bearer {token}"), ("-u", f"anybody:{token}")):
                assert curl(gateway.http + file, *login)[0] == 200
                assert curl(gateway.http + file.replace("maps", "secret"), *login)[0] == 404
                assert curl(gateway.http + "/webdav/maps/1.0.0/", *login, "-X", "PROPFIND", "-H", "Depth: 1")[0] == 207
            assert curl(gateway.http + file)[0] == 401
            assert curl(gateway.http + file, "-H", f"Authorization: Bearer {token[:-1]}a")[0] == 401
        place.environment |= {"AETHERFS_TOKEN": token}
        place.environment.pop("AETHERFS_STORE")
        listed = place.run("token", "ls", "--server", one.http)["tokens"]
        assert [entry["name"] for entry in listed] == ["ci"]  # a token sees itself alone
        assert curl(f"{other.http}/api/v1/tokens/ci", "-u", f"ada:{PASSWORD}", "-X", "DELETE",
                    "-H", "Content-Type: application/json")[0] == 204  # fmt: skip
        revoked_s = time.monotonic()
        pending = {(gateway.http, number) for gateway in (one, other) for number in range(3)}
        while pending:
            assert time.monotonic() - revoked_s < 60, pending
            pending = {
                (http, number)
                for http, number in pending
                if curl(http + file, "-H", f"Authorization: Bearer {token}")[0] != 401
            }
            time.sleep(1)
    log = (tmp_path / "audit.log").read_text()
    assert token.rpartition("_")[2] not in log
    events = [json.loads(line) for line in log.splitlines()]
    assert [(line["change"], line["principal"]) for line in events if line["event"] == "token"] == [
        ("created", "user:ada"), ("revoked", "user:ada")]  # fmt: skip


def test_a_tag_moves_by_rest_and_only_over_what_was_seen(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    set_up(place, tmp_path)
    with place.serve(nfs="off") as gateway:
        tag = f"{gateway.http}/api/v1/datasets/maps/tags/qa"
        put = ("-u", f"ada:{PASSWORD}", "-X", "PUT", "-H", "Content-Type: application/json")
        body = ("-d", json.dumps({"reference": "maps:1.0.0"}))
        status, answer = curl(tag, *put, *body, "-H", "If-None-Match: *")
        assert status == 201
        assert curl(tag, *put, *body, "-H", "If-None-Match: *")[0] == 412
        assert curl(tag, *put, *body, "-H", f'If-Match: "{json.loads(answer)["manifest"]}"')[0] == 200
        assert curl(tag, *put, "-d", json.dumps({"reference": "secret:1.0.0"}))[0] == 404
        assert curl(tag, *put, *body, "-H", "Expect: 100-continue")[0] in (200, 417)
        assert curl(tag, "-u", f"ada:{PASSWORD}")[0] == 200
        for login in ((), ("-u", "ada:wrong"), ("-H", "Authorization: Bearer aefs_x")):
            status, problem = curl(tag, *login)
            assert (status, json.loads(problem)["status"]) == (401, 401)
        assert json.loads(curl(f"{gateway.http}/api/v1/login")[1])["basic"] is True
    assert place.run("show", "maps:qa")["manifest"] == json.loads(answer)["manifest"]


@pytest.mark.s3
def test_tokens_lie_in_a_real_bucket(seaweed_place: S3Place, tmp_path: Path) -> None:
    grants = parse_rules(["read:*"], kind=HTTP)
    objects = open_objects(seaweed_place.address)
    made: list[str] = []
    taken: list[TokenTaken] = []

    def create() -> None:
        own = Tokens(objects)
        try:
            made.append(str(own.create("ci", grants)[0]))
        except TokenTaken as error:
            taken.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(taken)) == (1, 5)
    first, second = Tokens(objects), Tokens(objects, clock=lambda: time.monotonic() + 31)
    assert first.check(made[0]) == second.check(made[0])
    first.revoke("ci")
    late = Tokens(objects)
    for tokens in (first, late):
        with pytest.raises(BadCredentials, match="revoked"):
            tokens.check(made[0])
    again, _ = first.create("ci", grants)
    assert late.check(str(again)).name == "ci"
    late.close()
    assert [known.used_ns > 0 for _, known in first.list()] == [True]
    objects.close()
