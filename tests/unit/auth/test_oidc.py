"""Which tokens of a provider are taken, and as whom."""

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from auth.errors import BadCredentials
from auth.jwt import LARGEST, Keys, UnknownKey, parse_keys
from auth.oidc import MOST_GROUPS, SKEW_S, Rules, check_bearer, check_login
from auth.principal import user
from tests.support.jwts import CLIENT, ISSUER, claims, part, published, rsa, sign, sign_by_secret

NOW = 1_800_000_000.0
RULES = Rules(ISSUER, CLIENT)
KEY = rsa()
KEYS = parse_keys(published(KEY))
EC = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def told(**changed: Any) -> dict[str, Any]:
    return claims(NOW, **changed)


def check(text: str, keys: Keys = KEYS, rules: Rules = RULES, now_s: float = NOW) -> Any:
    return check_bearer(text, keys, rules, now_s)


def refused(text: str, **more: Any) -> str:
    with pytest.raises(BadCredentials) as caught:
        check(text, **more)
    return str(caught.value)


def test_a_good_token_names_its_user_and_groups_and_end() -> None:
    found = check(sign(KEY, told(groups=["staff", "geo team"])))
    assert found.principal == user("ada", frozenset(("staff", "geo team")))
    assert found.expires_s == NOW + 300


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_signatures_are_taken(algorithm: str) -> None:
    assert check(sign(KEY, told(), algorithm)).principal.name == "ada"


@pytest.mark.parametrize("algorithm", EC)
def test_signatures_of_curves_are_taken_with_their_own_curve_alone(algorithm: str) -> None:
    key = ECKey.generate_key(EC[algorithm], {"kid": "ec"})
    text = sign(key, told(), algorithm)
    assert check(text, parse_keys(published(key))).principal.name == "ada"
    other = ECKey.generate_key("P-384" if algorithm == "ES256" else "P-256", {"kid": "ec"})
    with pytest.raises(UnknownKey):
        check(text, parse_keys(published(other)))


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_edwards_signatures_are_taken(algorithm: str) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    assert check(sign(key, told(), algorithm), parse_keys(published(key))).principal.name == "ada"


@pytest.mark.parametrize("name", ["none", "None", "nOnE", "NONE", "HS256", "hs256", "HS512", "ES256K", "dir", "", None])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_algorithms_that_are_not_allowed_are_refused(name: str | None, signature: str) -> None:
    refused(f"{part({'alg': name, 'kid': KEY.kid})}.{part(told())}.{signature}")


@pytest.mark.parametrize(
    "secret",
    [KEY.as_pem(private=False), KEY.as_pem(private=False).strip(), KEY.as_der(private=False), published(KEY), b""],
    ids=["pem", "pem-stripped", "der", "jwks", "empty"],
)
def test_a_public_key_is_no_secret_to_sign_with(secret: bytes) -> None:
    assert "HS256" in refused(sign_by_secret(secret, told(), kid=KEY.kid))


def test_a_shared_secret_that_the_provider_publishes_is_not_used() -> None:
    keys = parse_keys(json.dumps({"keys": [{"kty": "oct", "k": part(b"secret" * 8), "kid": "s"}]}).encode())
    assert keys.keys == ()
    refused(sign_by_secret(b"secret" * 8, told(), kid="s"), keys=keys)


def test_a_signature_by_another_key_of_the_same_name_is_refused() -> None:
    assert "does not fit" in refused(sign(rsa("one"), told()))


def test_a_flipped_bit_anywhere_is_refused() -> None:
    head, payload, signature = sign(KEY, told()).split(".")
    assert refused(f"{head}.{part(told(sub='eve'))}.{signature}")
    assert refused(f"{head}.{payload}.{signature[:-4]}AAAA")
    assert refused(f"{head}.{payload}.")


def test_keys_in_a_header_are_not_looked_at() -> None:
    eve = rsa("one")
    own = eve.as_dict(private=False)
    assert "does not fit" in refused(sign(eve, told(), jwk=own, jku="https://evil.example/keys", x5u="https://evil"))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None])
def test_critical_extensions_are_refused(crit: object) -> None:
    head = {"alg": "RS256", "kid": KEY.kid, "crit": crit, "exp": 1}
    refused(f"{part(head)}.{part(told())}.{sign(KEY, told()).rsplit('.', 1)[1]}")


def test_a_key_that_is_not_there_is_told_apart() -> None:
    for key in (rsa("two"), rsa("one")):  # another name, or the name of one that is there
        with pytest.raises(UnknownKey):
            check(sign(key, told()))


def test_claims_are_looked_at_before_a_key_is_asked_for() -> None:
    assert "not of https" in refused(sign(rsa("two"), told(iss="https://elsewhere")))
    with pytest.raises(BadCredentials) as caught:
        check(sign(rsa("two"), told(exp=1)))
    assert not isinstance(caught.value, UnknownKey)


def test_a_token_without_key_id_needs_the_only_key() -> None:
    text = sign(KEY, told(), kid=None)
    assert check(text).principal.name == "ada"
    assert "could be one of 2" in refused(text, keys=parse_keys(published(KEY, rsa("two"))))


def test_keys_are_for_what_the_provider_says_they_are_for() -> None:
    for more in ({"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "PS256"}, {"kty": "EC"}, {"n": "AQAB"}, {"e": "AQ"}):
        refused(sign(KEY, told()), keys=parse_keys(published(KEY, **more)))


def test_keys_that_are_too_weak_or_cost_too_much_are_left_out() -> None:
    for modulus in ((1 << 2039) + 1, (1 << 8192) + 1):
        key = {"kty": "RSA", "n": part(modulus.to_bytes(1025, "big").lstrip(b"\0")), "e": "AQAB", "kid": "one"}
        assert parse_keys(json.dumps({"keys": [key]}).encode()).keys == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": ISSUER + "/"},
        {"iss": ISSUER.upper()},
        {"iss": [ISSUER]},
        {"aud": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": ["other"]},
        {"aud": {"aetherfs": 1}},
        {"aud": [CLIENT, 7]},
        {"aud": [CLIENT] * 21, "azp": CLIENT},
        {"aud": [CLIENT, "other"]},
        {"azp": "other"},
        {"azp": ["aetherfs"]},
        {"exp": None},
        {"exp": NOW - SKEW_S},
        {"exp": "2030-01-01"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1 << 60},
        {"nbf": NOW + SKEW_S + 1},
        {"nbf": "now"},
        {"iat": NOW + SKEW_S + 1},
        {"iat": {}},
        {"sub": None},
        {"sub": ""},
        {"sub": " ada"},
        {"sub": 7},
        {"sub": "ada\n"},
        {"sub": "a\x00da"},
        {"sub": "ada\u202e"},
        {"sub": "a" * 257},
        {"groups": "staff"},
        {"groups": {"staff": True}},
        {"groups": ["staff", 7]},
        {"groups": [["staff"]]},
        {"groups": [""]},
        {"groups": ["staff\r\nadmin"]},
        {"groups": None, "_claim_names": {"groups": "src1"}},
        {"groups": None, "hasgroups": True},
        {"groups": ["g"] * (MOST_GROUPS + 1)},
    ],
    ids=str,
)
def test_missing_and_odd_claims_refuse_the_token(changed: dict[str, Any]) -> None:
    refused(sign(KEY, told(**changed)))


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - SKEW_S + 1},
        {"nbf": NOW + SKEW_S},
        {"iat": NOW + SKEW_S},
        {"iat": None},
        {"exp": NOW + 0.5},
        {"groups": None},
        {"groups": []},
        {"azp": CLIENT},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
    ],
    ids=str,
)
def test_what_a_provider_may_say_or_leave_out(changed: dict[str, Any]) -> None:
    assert check(sign(KEY, told(**changed))).principal.name == "ada"


def test_an_access_token_is_taken_for_an_audience_of_its_own_whoever_got_it() -> None:
    rules = RULES._replace(audience="https://data.example.org")
    text = sign(KEY, told(aud="https://data.example.org", azp="robot", sub="robot"), typ="at+jwt")
    assert check(text, rules=rules).principal == user("robot", frozenset(("staff",)))
    assert "not for https" in refused(sign(KEY, told()), rules=rules)  # an ID token is for the client alone


def test_users_and_groups_may_come_from_other_claims() -> None:
    rules = RULES._replace(user_claim="email", groups_claim="https://example.org/roles")
    more = {"email": "ada@example.org", "https://example.org/roles": ["geo"]}
    assert check(sign(KEY, told(**more)), rules=rules).principal == user("ada@example.org", frozenset(("geo",)))
    assert "not verified" in refused(sign(KEY, told(**more, email_verified=False)), rules=rules)
    assert check(sign(KEY, told(**more)), rules=RULES._replace(groups_claim="")).principal == user("ada")


def test_what_is_nested_in_claims_is_named_with_dots() -> None:
    nested = {"groups": None, "realm_access": {"roles": ["geo"], "name": "ada@realm"}}
    rules = RULES._replace(user_claim="realm_access.name", groups_claim="realm_access.roles")
    assert check(sign(KEY, told(**nested)), rules=rules).principal == user("ada@realm", frozenset(("geo",)))
    itself = told(**nested, **{"realm_access.roles": ["maps"]})
    assert check(sign(KEY, itself), rules=rules).principal.groups == {"maps"}
    for name in ("realm_access.nothing", "realm_access.roles.0", "nothing.roles", "sub.roles"):
        found = check(sign(KEY, told(**nested)), rules=RULES._replace(groups_claim=name))
        assert found.principal.groups == frozenset()
    assert "no list" in refused(sign(KEY, told(**nested)), rules=RULES._replace(groups_claim="realm_access"))
    assert "no name" in refused(sign(KEY, told(**nested)), rules=RULES._replace(user_claim="realm_access.nobody"))


@pytest.mark.parametrize("kind", ["logout+jwt", "application/logout+jwt", "secevent+JWT", "dpop+jwt"])
def test_what_a_provider_signs_for_something_else_says_who_nobody_is(kind: str) -> None:
    assert "says who nobody is" in refused(sign(KEY, told(), typ=kind))
    with pytest.raises(BadCredentials):
        check_login(sign(KEY, told(nonce="n-1"), typ=kind), KEYS, RULES, NOW, nonce="n-1")


def test_a_login_needs_its_own_nonce_and_an_id_token() -> None:
    good = sign(KEY, told(nonce="n-1"))
    assert check_login(good, KEYS, RULES, NOW, nonce="n-1").principal.name == "ada"
    others = (sign(KEY, told()), sign(KEY, told(nonce="n-2")), sign(KEY, told(nonce=["n-1"])))
    for text in (*others, sign(KEY, told(nonce="n-1"), typ="at+jwt"), sign(KEY, told(nonce="n-1", azp="other"))):
        with pytest.raises(BadCredentials):
            check_login(text, KEYS, RULES, NOW, nonce="n-1")


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "\x00.\x00.\x00", "é.é.é", "A" * (LARGEST + 1), "bnVsbA.e30.AA"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    refused(text)


def test_names_that_stand_twice_are_refused() -> None:
    head = part({"alg": "RS256", "kid": "one"})
    twice = part(b'{"sub": "ada", "sub": "eve"}')
    assert "twice" in refused(f"{head}.{twice}.AA")


def test_what_is_nested_without_end_is_refused() -> None:
    refused(f"{part({'alg': 'RS256'})}.{part(b'[' * 5000)}.AA")


def test_padding_and_other_spellings_of_base64_are_refused() -> None:
    head, payload, signature = sign(KEY, told()).split(".")
    for odd in (f"{head}=.{payload}.{signature}", f"{head}.{payload}.{signature}\n", f"{head}. {payload}.{signature}"):
        refused(odd)


def test_bits_that_no_byte_uses_spell_no_second_token() -> None:
    text = sign(KEY, told())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = digits.index(text[-1])
    assert last % 16 == 0  # of a signature of 256 bytes four bits are left
    for spelled in range(last + 1, last + 16):
        assert "base64url" in refused(text[:-1] + digits[spelled])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b'{"keys":[' + b"1," * 200 + b"1]}"])
def test_what_is_no_document_of_keys_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_keys(data)
