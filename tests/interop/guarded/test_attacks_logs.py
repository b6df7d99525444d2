"""Attack: read secrets in what the gateway writes down. Every secret is sent in every place that clients put one, right
and wrong; then all that was written is searched for it.
"""

import base64
import json

import pytest

from tests.interop.guarded.gateway import ADA, BOB, LONG, Guarded, basic, bearer, form

SURFACES = ("/fs/maps/1.0.0/a.txt", "/webdav/maps/1.0.0/a.txt", "/api/v1/whoami", "/fs/none/x", "/ui/")


def test_no_secret_is_written_down(guarded: Guarded) -> None:
    tokens = list(guarded.tokens.values())
    for number, secret in enumerate((ADA, BOB, LONG, *tokens)):
        source = f"127.0.11.{number + 1}"
        for target in SURFACES:
            for user, password in (("ada", secret), ("nobody", secret), ("x" * 300, secret), ("ada:" + secret, "")):
                guarded.ask("GET", target, basic(user, password), source=source)
            guarded.ask("GET", target, bearer(base64.b64encode(secret.encode()).decode()), source=source)
        for method in ("PUT", "PROPFIND", "DELETE", "POST", "MOVE"):
            guarded.ask(method, SURFACES[1], basic("ada", secret), source=source)
        head, body = form(csrf="x", user="ada", password=secret, next="/")
        guarded.ask("POST", "/ui/login", head, body=body, source=source)
        guarded.ask("POST", "/ui/login", {**head, "Cookie": "aetherfs-form=x"}, body=body, source=source)
        guarded.say(f"GET /fs/ HTTP/1.1\r\nHost: g\r\nAuthorization: Basic {secret}\x01\r\n\r\n".encode(), source)
        guarded.say(f"GET /fs/ HTTP/1.1\r\nHost: g\r\n{secret}: x\r\n\r\n".encode(), source)
    written = guarded.written()
    for secret in (ADA, BOB, LONG, *tokens):
        for spelled in (secret, json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()):
            assert spelled.encode() not in written
    assert b'"event": "login", "outcome": "refused"' in written


@pytest.mark.parametrize(
    "where", ["user", "query", "path", "referer", "agent", "cookie", "host", "method", "malformed"]
)
def test_a_token_in_the_wrong_place_is_not_written_down_either(guarded: Guarded, where: str) -> None:
    """Of what has the form of a token its id alone is kept, so that its owner can be told which one to revoke."""
    token = guarded.tokens["ci"]
    target = "/fs/maps/1.0.0/a.txt"
    if where == "user":
        for password in ("", "x-oauth-basic", token[:-1]):
            answer = guarded.ask("GET", target, basic(token, password), source="127.0.12.1")
            assert answer.status == 401
    elif where == "query":
        guarded.ask("GET", f"{target}?access_token={token}")
    elif where == "path":
        for path in (f"/fs/{token}/x", f"/@token/{token}/maps", f"/fs/@token/{token}/maps", f"/webdav/maps/{token}"):
            guarded.ask("GET", path)
            guarded.ask("GET", path, basic("ada", ADA))
    elif where == "malformed":
        guarded.say(f"GET /fs/{token} x HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        guarded.say(f"{token}\r\n\r\n".encode())
        guarded.say(f"GET http://x:{token}@g/fs/ HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    elif where == "method":
        guarded.say(f"{token} {target} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    else:
        name = {"referer": "Referer", "agent": "User-Agent", "cookie": "Cookie", "host": "Host"}[where]
        guarded.ask("GET", target, {name: f"https://x.example/?t={token}"})
    written = guarded.written()
    assert token.rpartition("_")[2].encode() not in written
    if where in ("user", "query", "path", "referer", "agent"):
        assert f"{token.rpartition('_')[0]}_...".encode() in written


def test_the_logs_are_for_their_owner_alone_and_no_line_is_made_up(guarded: Guarded) -> None:
    line = 'x\n{"time": "2026-01-01T00:00:00Z", "event": "login", "outcome": "ok", "principal": "user:made-up"}\n'
    guarded.ask("GET", "/fs/maps/1.0.0/a.txt", basic(line, "x"), source="127.0.12.2")
    guarded.ask("GET", "/fs/%0a%7b%22event%22:%22made-up%22%7d/x")
    written = guarded.written()
    assert b"made-up" in written
    assert guarded.audit.stat().st_mode & 0o777 == 0o600
    for file in (guarded.audit, guarded.access):
        for text in file.read_text().splitlines():
            said = json.loads(text)
            assert said.get("principal", "") != "user:made-up"
            assert said.get("event", "") != "made-up"
