"""Tokens of a real provider at a whole gateway: which are taken, and what becomes of them as the provider changes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Page

from auth.jwt import parse_keys, parse_token
from auth.oidc import SKEW_S
from gateway.access.fetch import Fetch
from gateway.access.oauth import Client, Proof, Tokens, ask_token, authorization_url, discover, read_code, redeem
from tests.interop.login.site import AUDIENCE, Site, ask, at_provider, until
from tests.interop.serve.gateways import Gateway
from tests.support.jwts import part, rsa, sign, sign_by_secret
from tests.support.oidc_provider import RealProvider, real_provider

pytestmark = pytest.mark.interop
ROBOT = Client("robot", "secret of the robot")
SCOPES = "openid profile email offline_access"


def robot(provider: RealProvider, audience: str = AUDIENCE) -> str:
    """Return an access token of a service account."""
    fetch = Fetch()
    metadata = discover(fetch, provider.issuer)
    return ask_token(fetch, metadata, ROBOT, {"grant_type": "client_credentials"}, audience).access


def person(page: Page, provider: RealProvider, name: str, client: Client = Client("aetherfs")) -> Tokens:  # noqa: B008
    """Return what a client gets for somebody who logs in."""
    fetch, proof = Fetch(), Proof.fresh()
    metadata, redirect = discover(fetch, provider.issuer), "http://127.0.0.1:9/callback"
    page.route("http://127.0.0.1:9/**", lambda route: route.fulfill(body="back"))
    page.goto(authorization_url(metadata, client.id, redirect, SCOPES, proof, prompt="login consent"))
    at_provider(page, name)
    page.wait_for_url("http://127.0.0.1:9/**")
    code = read_code(page.url.partition("?")[2], metadata, proof.state)
    return redeem(fetch, metadata, client, code, redirect, proof.verifier)


def reads(gateway: Gateway, bearer: str, dataset: str = "maps") -> int:
    return ask(f"{gateway.http}/fs/{dataset}/1.0.0/file.txt", bearer)[0]


@pytest.fixture(autouse=True)
def _as_it_was(provider: RealProvider) -> Iterator[None]:
    yield
    provider.tell(down=False, ttl=600)


def test_a_service_account_reads_what_its_group_may_on_every_surface(guarded: Gateway, provider: RealProvider) -> None:
    token = robot(provider)
    assert reads(guarded, token) == 200
    assert reads(guarded, token, "secret") == 404
    assert reads(guarded, token, "free") == 200
    assert ask(f"{guarded.http}/webdav/maps/1.0.0/file.txt", token)[0] == 200
    status, body, _ = ask(f"{guarded.http}/api/v1/whoami", token)
    assert status == 200
    assert b'"user:robot"' in body


def test_an_id_token_is_taken_for_its_client_and_groups_are_the_provider_s(
    page: Page, gateway: Gateway, guarded: Gateway, provider: RealProvider
) -> None:
    found = person(page, provider, "ada")
    assert reads(gateway, found.id) == 200
    assert reads(gateway, found.id, "secret") == 404
    assert reads(guarded, found.id) == 401  # that gateway wants access tokens for an audience of its own
    assert reads(gateway, found.access) == 401  # opaque
    eve = person(page, provider, "eve")
    assert reads(gateway, eve.id) == 404  # let in, and in no group
    assert reads(gateway, eve.id, "free") == 200


def test_tokens_for_others_are_refused(page: Page, gateway: Gateway, guarded: Gateway, provider: RealProvider) -> None:
    assert reads(gateway, person(page, provider, "ada", Client("other")).id) == 401
    assert reads(guarded, robot(provider, "https://elsewhere.example.org")) == 401
    status, body, headers = ask(f"{guarded.http}/fs/maps/1.0.0/file.txt", robot(provider, "https://elsewhere"))
    assert status == 401
    assert b"elsewhere" not in body
    assert "Bearer" in ", ".join(headers.get_all("WWW-Authenticate", []))


def test_signatures_that_are_none_are_refused(guarded: Gateway, provider: RealProvider) -> None:
    token = robot(provider)
    head, payload, signature = token.split(".")
    claims = parse_token(token).claims
    fetch = Fetch()
    jwks = fetch.get(discover(fetch, provider.issuer).keys).body
    key = parse_keys(jwks).keys[0]
    public: Any = key.key.public_key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forged = [
        f"{head}.{payload}.",
        f"{head}.{part(claims | {'sub': 'bob'})}.{signature}",
        *(f"{part({'alg': name, 'kid': key.id})}.{payload}." for name in ("none", "None", "NONE", "nOnE")),
        *(sign_by_secret(secret, claims, kid=key.id) for secret in (pem, pem.strip(), der, jwks)),
        sign(rsa(str(key.id)), claims),
        sign(rsa("made-up"), claims, jwk=rsa("made-up").as_dict(private=False)),
    ]
    assert [reads(guarded, text) for text in forged] == [401] * len(forged)
    assert reads(guarded, token) == 200


def test_an_expired_token_is_refused_after_the_skew_and_a_refresh_gives_another(
    page: Page, gateway: Gateway, provider: RealProvider
) -> None:
    provider.tell(ttl=2)
    found = person(page, provider, "ada")
    ends_s = float(parse_token(found.id).claims["exp"])
    assert reads(gateway, found.id) == 200
    assert until(lambda: reads(gateway, found.id) == 401, 150)
    assert time.time() >= ends_s + SKEW_S  # clocks may differ by a minute
    fetch = Fetch()
    fields = {"grant_type": "refresh_token", "refresh_token": found.refresh}
    again = ask_token(fetch, discover(fetch, provider.issuer), Client("aetherfs"), fields)
    assert reads(gateway, again.id) == 200


def test_a_new_key_is_taken_at_once_and_the_old_one_until_it_is_withdrawn(site: Site) -> None:
    own = {"AUTH_OIDC_AUDIENCE": AUDIENCE}
    with real_provider() as provider:  # another one, whose keys no other test knows
        own["AUTH_OIDC_ISSUER"] = provider.issuer
        with site.serve(2, **own) as gateway:
            old = robot(provider)
            assert {reads(gateway, old) for _ in range(8)} == {200}
            time.sleep(5)  # keys are not asked for twice within that
            provider.tell(rotate="keep")
            new = robot(provider)
            assert parse_token(new).header.key != parse_token(old).header.key
            assert {reads(gateway, new) for _ in range(8)} == {200}
            assert {reads(gateway, old) for _ in range(8)} == {200}
            provider.tell(rotate="drop")
            with site.serve(1, **own) as fresh:
                assert reads(fresh, robot(provider)) == 200
                assert reads(fresh, old) == 401


def test_while_the_provider_is_away_known_keys_go_on_and_a_fresh_gateway_says_that_it_can_not_tell(
    site: Site, guarded: Gateway, provider: RealProvider
) -> None:
    first, second = robot(provider), robot(provider)
    assert reads(guarded, first) == 200
    provider.tell(down=True)
    assert reads(guarded, second) == 200
    with site.serve(AUTH_OIDC_AUDIENCE=AUDIENCE) as fresh:
        status, body, headers = ask(f"{fresh.http}/fs/maps/1.0.0/file.txt", first)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert b"can't be checked" in body
        assert reads(fresh, "", "free") == 200
        provider.tell(down=False)
        assert until(lambda: reads(fresh, first) == 200, 90)


def test_a_secret_of_the_gateway_is_shown_to_the_provider_as_it_wants(
    page: Page, site: Site, provider: RealProvider
) -> None:
    secret = site.folder / "client.secret"
    secret.write_text("a secret: %/+&\n")
    with site.serve(AUTH_OIDC_CLIENT_ID="web", AUTH_OIDC_CLIENT_SECRET_FILE=str(secret)) as gateway:
        page.goto(f"{gateway.http}/ui/login/start?next=/fs/maps/")
        at_provider(page, "ada")
        assert page.url == f"{gateway.http}/fs/maps/"
    secret.write_text("another")
    with site.serve(AUTH_OIDC_CLIENT_ID="web", AUTH_OIDC_CLIENT_SECRET_FILE=str(secret)) as gateway:
        page.goto(f"{gateway.http}/ui/login/start?next=/fs/maps/")
        page.get_by_role("button", name="Continue").click()
        assert page.get_by_role("alert").inner_text() == "The login failed."
    assert "another" not in site.audit.read_text()
