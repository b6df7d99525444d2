"""Logins of commands with a provider that answers as the test says: waiting, slowing down, and which token is sent."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.access.oauth import Tokens
from gateway.cli.logins import OIDC, SERVICE_ACCOUNT, Saved
from gateway.cli.provider_login import ProviderLogin, pick, renew
from gateway.config import ConfigError
from gateway.errors import ServerFailed, ServerRefused, ServerUnreachable
from tests.support.issuer import Issuer, issuer
from tests.support.jwts import claims, part, rsa

PENDING = (400, {"error": "authorization_pending"})
SLOWER = (400, {"error": "slow_down"})
DEVICE: dict[str, Any] = {
    "device_code": "d-1",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://login.example.org/device",
    "expires_in": 600,
}


def token(audience: object = "aetherfs", **more: Any) -> str:
    return f"{part({'alg': 'RS256'})}.{part(claims(aud=audience, **more))}.AA"


@pytest.fixture
def running() -> Iterator[Issuer]:
    with issuer(rsa()) as found:
        found.changed["device_authorization_endpoint"] = f"{found.url}/device"
        yield found


def begun(running: Issuer, **changed: Any) -> Saved:
    saved = Saved(OIDC, "", issuer=running.url, client_id="aetherfs", scopes="openid", audience="aetherfs")
    return saved._replace(**changed)


def by_device(running: Issuer, *answers: tuple[int, Any]) -> tuple[Saved, list[float], list[str]]:
    """Log in by a device; return the login, what was waited, and what was said."""
    running.posts["/device"] = [(200, DEVICE | {"interval": 2})]
    running.posts["/token"] = list(answers)
    waited: list[float] = []
    said: list[str] = []
    return ProviderLogin(begun(running)).by_device(said.append, waited.append), waited, said


def test_a_device_is_asked_for_as_slowly_as_the_provider_wants(running: Issuer) -> None:
    text = token()
    good = (200, {"id_token": text, "access_token": "opaque", "refresh_token": "r-1"})
    saved, waited, said = by_device(running, PENDING, SLOWER, PENDING, (503, {}), PENDING, good)
    assert waited == [2, 2, 7, 7, 14, 14]
    assert (saved.bearer, saved.refresh) == (text, "r-1")
    assert "ABCD-EFGH" in said[0]
    assert "d-1" not in "".join(said)


@pytest.mark.parametrize("interval", [1e9, 10**400])
def test_a_device_is_asked_for_whatever_the_provider_says_of_waiting(running: Issuer, interval: object) -> None:
    running.posts["/device"] = [(200, DEVICE | {"interval": interval})]
    running.posts["/token"] = [PENDING, (200, {"id_token": token(exp=10**400)})]
    waited: list[float] = []
    ProviderLogin(begun(running)).by_device(lambda text: None, waited.append)
    assert waited == [60, 60]


@pytest.mark.parametrize("code", ["access_denied", "expired_token", "invalid_grant"])
def test_a_device_that_is_refused_ends_the_wait(running: Issuer, code: str) -> None:
    with pytest.raises(ServerRefused, match=code):
        by_device(running, PENDING, (400, {"error": code}))


def test_a_code_that_nobody_uses_expires(running: Issuer) -> None:
    running.posts["/device"] = [(200, DEVICE | {"expires_in": 0.3, "interval": 1})]
    running.posts["/token"] = [PENDING]
    with pytest.raises(ServerRefused, match="expired"):
        ProviderLogin(begun(running)).by_device(lambda text: None, lambda seconds: time.sleep(0.4))


@pytest.mark.parametrize("changed", [{"user_code": None}, {"device_code": 7}, {"verification_uri": "x\x1b[2J"}])
def test_a_provider_that_shows_no_code_is_told(running: Issuer, changed: dict[str, Any]) -> None:
    running.posts["/device"] = [(200, DEVICE | changed)]
    with pytest.raises(ServerFailed):
        ProviderLogin(begun(running)).by_device(lambda text: None)


def test_a_provider_without_devices_says_so(running: Issuer) -> None:
    running.changed = {}
    with pytest.raises(ServerRefused, match="no login by another device"):
        ProviderLogin(begun(running)).by_device(lambda text: None)


def test_a_renewal_keeps_the_refresh_token_unless_there_is_another(running: Issuer) -> None:
    saved = begun(running, refresh="r-1")
    running.posts["/token"] = [
        (200, {"id_token": token()}),
        (200, {"id_token": token(), "refresh_token": "r-2"}),
        (400, {"error": "invalid_grant", "error_description": "gone\x1b[31m"}),
    ]
    assert renew("https://here", saved).refresh == "r-1"
    assert renew("https://here", saved).refresh == "r-2"
    with pytest.raises(ServerRefused, match="the login to https://here is over") as caught:
        renew("https://here", saved)
    assert str(caught.value).isprintable()
    assert "r-1" not in str(caught.value)


def test_a_service_account_shows_its_secret_in_one_place(running: Issuer, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s e:c/ret\n")
    where = "https://data.example.org"
    saved = begun(running, kind=SERVICE_ACCOUNT, client_secret_file=str(secret), audience=where, scopes="")
    running.posts["/token"] = [(200, {"access_token": token(where)})]
    assert ProviderLogin(saved).renewed().kind == SERVICE_ACCOUNT
    (sent,) = running.sent
    assert sent.fields == {"grant_type": "client_credentials", "resource": where}
    assert sent.authorization == "Basic YWV0aGVyZnM6cyUyMGUlM0FjJTJGcmV0"  # aetherfs:s%20e%3Ac%2Fret
    secret.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        ProviderLogin(saved)


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        (Tokens("opaque", token()), "id"),
        (Tokens(token(), token()), "access"),
        (Tokens(token("other"), token(["x", "aetherfs"])), "id"),
        (Tokens(token(["aetherfs"]), ""), "access"),
    ],
)
def test_the_token_that_is_meant_for_the_gateway_is_sent(tokens: Tokens, sent: str) -> None:
    assert pick(tokens, "aetherfs") == (tokens.id if sent == "id" else tokens.access)


@pytest.mark.parametrize(
    "tokens", [Tokens("opaque", ""), Tokens(token("x"), token("y")), Tokens(token({}), token(None))]
)
def test_a_token_that_is_meant_for_others_is_never_sent(tokens: Tokens) -> None:
    with pytest.raises(ServerFailed):
        pick(tokens, "aetherfs")


@pytest.mark.parametrize(
    "answer", [(200, {}), (200, []), (500, {}), (302, {}), (200, {"access_token": 7})], ids=json.dumps
)
def test_odd_answers_are_told(running: Issuer, answer: tuple[int, Any]) -> None:
    running.posts["/token"] = [answer]
    with pytest.raises((ServerUnreachable, ServerFailed)):
        renew("https://here", begun(running, refresh="r-1", expires_s=1.0))
