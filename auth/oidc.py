"""Who a token of an OpenID provider is about: its claims held against the rules of this gateway.

ID tokens (OpenID Connect Core 1.0, section 3.1.3.7) and access tokens that are JWTs (RFC 9068). A claim that is missing
or not what it must be refuses the token; of a token that is refused no more is told than a log may show.

Any thread; pure: keys and time are handed in.
"""

import hmac
import math
from typing import Any, Final, NamedTuple

from auth.errors import BadCredentials
from auth.jwt import Keys, Token, parse_token, verify
from auth.principal import LONGEST_NAME, Principal, user

SKEW_S: Final = 60  # how far clocks may differ
MOST_GROUPS: Final = 1000
MOST_AUDIENCES: Final = 20
ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105  # a kind of token, RFC 9068 section 2.1
_NOT_HERE: Final = ("_claim_names", "_claim_sources", "hasgroups")  # claims that say "there are more, elsewhere"


class Rules(NamedTuple):
    """What a token must say."""

    issuer: str
    client_id: str
    audience: str = ""  # of tokens that programs send; empty: the client_id
    user_claim: str = "sub"
    groups_claim: str = "groups"  # empty: nobody has groups


class Verified(NamedTuple):
    """What a token that passed says."""

    principal: Principal
    expires_s: float  # seconds since 1970


def check_bearer(text: str, keys: Keys, rules: Rules, now_s: float) -> Verified:
    """Check a token that a program sent as its credentials.

    Args:
        text: as it was sent.
        keys: the provider's.
        rules: what it must say.
        now_s: seconds since 1970.

    Raises:
        UnknownKey: none of `keys` has signed it; what it says would do.
        BadCredentials: it is not to be taken.
    """
    token = parse_token(text)
    audience = rules.audience or rules.client_id
    found = _read(token, rules, audience, now_s)  # before the key is looked for: others' tokens ask no provider
    # A token for us alone that another client got (azp) is an ID token of that client, or one that it may use on
    # somebody's behalf. Only access tokens, or an audience of their own, say that the latter is meant.
    if audience == rules.client_id and token.header.kind != ACCESS_TOKEN:
        _check_party(token.claims, rules.client_id)
    verify(token, keys)
    return found


def check_login(text: str, keys: Keys, rules: Rules, now_s: float, *, nonce: str) -> Verified:
    """Check the ID token of a login that this gateway began; `nonce` is what it was begun with. Errors as above."""
    token = parse_token(text)
    found = _read(token, rules, rules.client_id, now_s)
    _check_party(token.claims, rules.client_id)
    if token.header.kind == ACCESS_TOKEN:
        raise BadCredentials("an access token is no ID token")
    told = token.claims.get("nonce")
    if not isinstance(told, str) or not hmac.compare_digest(told.encode("utf-8", "replace"), nonce.encode()):
        raise BadCredentials("the token is of another login")
    verify(token, keys)
    return found


def _read(token: Token, rules: Rules, audience: str, now_s: float) -> Verified:
    claims, kind = token.claims, token.header.kind
    if kind.endswith("+jwt") and kind != ACCESS_TOKEN:  # RFC 8725 section 3.11: made for something else
        raise BadCredentials(f"a token that is {kind!r:.60} says who nobody is")
    if claims.get("iss") != rules.issuer:
        raise BadCredentials(f"a token of {claims.get('iss')!r:.200}, not of {rules.issuer}")
    meant = claims.get("aud")
    audiences = meant if isinstance(meant, list) else [meant]
    if len(audiences) > MOST_AUDIENCES or not all(isinstance(one, str) for one in audiences):
        raise BadCredentials("the token's audience is odd")
    if not audience or audience not in audiences:
        raise BadCredentials(f"a token for {meant!r:.200}, not for {audience}")
    expires_s = _seconds(claims, "exp")
    if expires_s is None:
        raise BadCredentials("a token that never expires is not taken")
    if now_s >= expires_s + SKEW_S:
        raise BadCredentials("the token has expired")
    for claim in ("nbf", "iat"):
        begins_s = _seconds(claims, claim)
        if begins_s is not None and begins_s > now_s + SKEW_S:
            raise BadCredentials(f"the token is not valid yet ({claim})")
    return Verified(user(_user(claims, rules), _groups(claims, rules)), expires_s)


def _check_party(claims: dict[str, Any], client_id: str) -> None:
    meant = claims.get("aud")
    if "azp" in claims and claims["azp"] != client_id:
        raise BadCredentials(f"a token that {claims['azp']!r:.200} got")
    if isinstance(meant, list) and len(meant) > 1 and "azp" not in claims:
        raise BadCredentials("a token for several, which does not say who got it")


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 53 or math.isnan(value):
        raise BadCredentials(f"the token's {name} is no time")
    return float(value)


def _user(claims: dict[str, Any], rules: Rules) -> str:
    name = _name(_claim(claims, rules.user_claim), f"the claim {rules.user_claim}, which names the user,")
    if rules.user_claim == "email" and claims.get("email_verified", True) is not True:
        raise BadCredentials("the provider has not verified that the e-mail address is the user's")
    return name


def _groups(claims: dict[str, Any], rules: Rules) -> frozenset[str]:
    if not rules.groups_claim:
        return frozenset()
    groups = _claim(claims, rules.groups_claim)
    if groups is None:
        # Some providers leave out what is too much. To go on without would lift what is denied to a group.
        if any(name in claims for name in _NOT_HERE):
            raise BadCredentials(f"the token leaves out the groups ({rules.groups_claim}), which are too many for it")
        return frozenset()
    if not isinstance(groups, list) or len(groups) > MOST_GROUPS:
        raise BadCredentials(f"the claim {rules.groups_claim} is no list of at most {MOST_GROUPS} groups")
    return frozenset(_name(group, f"a group in the claim {rules.groups_claim}") for group in groups)


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim, or what is nested in claims: `realm_access.roles`; `None`: there is none."""
    if name in claims:  # a name may have dots itself: some are URLs
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _name(value: object, what: str) -> str:
    """Return a name that rules, logs and pages can show."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or value != value.strip():
        raise BadCredentials(f"{what} is no name")
    if not value.isprintable():
        raise BadCredentials(f"{what} has characters that can't be printed")
    return value
