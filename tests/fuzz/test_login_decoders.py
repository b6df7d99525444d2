"""Any token, document of keys and cookie: a value, or a refusal of the kind that is documented."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.errors import BadCredentials
from auth.jwt import Keys, parse_keys
from auth.oidc import Rules, Verified, check_bearer, check_login
from auth.session import LOGIN, SESSION, Sealer, open_session
from gateway.access.fetch import FetchFailed, check_url
from gateway.access.oauth import Metadata, ProviderRefused, read_code, read_metadata
from gateway.cli.logins import Saved, find_login, logins_file
from gateway.config import ConfigError
from tests.support.jwts import CLIENT, ISSUER, claims, part, published, rsa, sign

NOW = 1_800_000_000.0
KEY = rsa()
KEYS = parse_keys(published(KEY))
RULES = Rules(ISSUER, CLIENT)
SEALER = Sealer(bytes(32), SESSION)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
headers = st.fixed_dictionaries(
    {}, optional={name: anything | st.just("RS256") for name in ("alg", "kid", "typ", "crit", "b64", "jwk")}
)
changes = st.dictionaries(
    st.sampled_from(("iss", "aud", "azp", "exp", "nbf", "iat", "sub", "groups", "_claim_names", "nonce")), anything
)


def check(text: str) -> None:
    """Whatever it is, it is refused, or is ada's."""
    asks: list[Callable[[], Verified]] = [
        lambda: check_bearer(text, KEYS, RULES, NOW),
        lambda: check_login(text, KEYS, RULES, NOW, nonce="n"),
        lambda: check_bearer(text, Keys(), RULES, NOW),
    ]
    for ask in asks:
        try:
            found = ask()
        except BadCredentials:
            continue
        assert found.principal.name.isprintable()
        assert found.principal.name
        assert all(group and group.isprintable() for group in found.principal.groups)


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_=-]*(\.[A-Za-z0-9_=-]*){0,3}", fullmatch=True))
def test_any_text_as_a_token(text: str) -> None:
    check(text)


@given(headers, anything, st.binary(max_size=300))
def test_any_header_payload_and_signature(header: dict[str, Any], payload: object, signature: bytes) -> None:
    check(f"{part(header)}.{part(payload)}.{part(signature)}")


@given(changes)
def test_any_claims_that_the_provider_did_sign(changed: dict[str, Any]) -> None:
    check(sign(KEY, claims(NOW) | changed))


@given(st.binary(max_size=400) | st.lists(anything, max_size=4).map(lambda keys: json.dumps({"keys": keys}).encode()))
def test_any_document_of_keys(data: bytes) -> None:
    try:
        parse_keys(data)
    except ValueError:
        return


@given(
    st.fixed_dictionaries(
        {"kty": st.sampled_from(("RSA", "EC", "OKP", "oct")) | anything},
        optional={
            "crv": st.sampled_from(("P-256", "Ed25519", "X25519")) | anything,
            **{name: st.binary(max_size=300).map(part) | anything for name in ("n", "e", "x", "y", "k", "kid", "alg")},
            "use": st.just("sig") | anything,
            "key_ops": anything,
        },
    )
)
def test_any_key(key: dict[str, Any]) -> None:
    for found in parse_keys(json.dumps({"keys": [key]}).encode()).keys:
        assert found.kind in ("RSA", "EC", "OKP")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode().strip("=")))
def test_any_text_as_a_cookie(text: str) -> None:
    with pytest.raises(BadCredentials):
        open_session(SEALER, text, NOW)


@given(st.dictionaries(st.sampled_from(("id", "user", "groups", "csrf", "iat", "exp", "way")), anything))
def test_any_content_of_a_cookie_of_ours(value: dict[str, Any]) -> None:
    for sealer in (SEALER, Sealer(bytes(32), LOGIN)):
        try:
            open_session(SEALER, sealer.seal(value), NOW)
        except BadCredentials:
            continue


@given(st.text(max_size=200) | st.from_regex(r"(code|state|iss|error)=[a-z%0-9&=;]*", fullmatch=True))
def test_any_answer_that_a_browser_brings_back(query: str) -> None:
    try:
        found = read_code(query, Metadata("https://login.example.org", "", "", ""), "the-state")
    except (FetchFailed, ProviderRefused):
        return
    assert found
    assert "the-state" in query


places = st.just(ISSUER) | st.text(max_size=30).map(lambda text: f"https://{text}") | anything
PLACES = ("authorization_endpoint", "token_endpoint", "jwks_uri", "device_authorization_endpoint")


@given(
    st.fixed_dictionaries(
        {"issuer": st.just(ISSUER) | anything},
        optional={**{name: places for name in PLACES}, "token_endpoint_auth_methods_supported": anything},
    )
)
def test_any_configuration_of_a_provider(document: dict[str, Any]) -> None:
    try:
        found = read_metadata(document, ISSUER)
    except FetchFailed:
        return
    assert found.keys.startswith("https://")
    for url in (found.authorization, found.token, found.device):
        assert not url or url.startswith("https://")


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.:@/\\\[\]#?%-]{0,40}", fullmatch=True))
def test_any_url(text: str) -> None:
    try:
        assert check_url(text, "it") == text
    except FetchFailed:
        return


@pytest.mark.parametrize("bare", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_file_of_saved_logins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bare: bool, data: st.DataObject
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    entry = st.dictionaries(st.sampled_from(Saved._fields), anything)
    document = (
        anything
        if bare
        else st.fixed_dictionaries({"version": st.just(1), "servers": st.fixed_dictionaries({"s": entry})})
    )
    logins_file().parent.mkdir(exist_ok=True)
    logins_file().write_text(json.dumps(data.draw(document)))
    logins_file().chmod(0o600)
    try:
        find_login("s")
    except ConfigError:
        return
