"""What an OpenID provider says of itself, and the questions to it that a login consists of.

Discovery (OpenID Connect Discovery 1.0, RFC 8414), the code flow with PKCE (RFC 6749 section 4.1, RFC 7636), refresh
(section 6), client credentials (section 4.4), devices (RFC 8628), revocation (RFC 7009). Shared by the gateway's pages
and `aetherfs login`. Any thread; holds no state but connections.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from gateway.access.fetch import Answer, Fetch, FetchFailed, check_url

LONGEST: Final = 64 * 1024  # characters of a token that is kept
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class ProviderRefused(Exception):
    """The provider said no. `code` is its word for why (RFC 6749 section 5.2, RFC 8628 section 3.5)."""

    def __init__(self, code: str, description: str = "") -> None:
        self.code = code
        super().__init__(f"the provider says {code}" + (f": {description}" if description else ""))


class Metadata(NamedTuple):
    """What a provider says of itself. Some only sign tokens (CI services, clusters): they have no more than keys."""

    issuer: str
    authorization: str  # empty, as below: it has none that can be used
    token: str
    keys: str
    device: str = ""
    revocation: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)  # by which a client may show its secret
    names_itself: bool = False  # it sends `iss` with codes (RFC 9207)


class Client(NamedTuple):
    """Who asks the provider."""

    id: str
    secret: str = ""


class Tokens(NamedTuple):
    """What the provider gave."""

    access: str = ""
    id: str = ""
    refresh: str = ""
    lives_s: float = 0.0  # of the access token; 0: not told


class Proof(NamedTuple):
    """What a login is begun with, and has to be ended with."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def fresh(cls) -> "Proof":
        """Return another one."""
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))


def discover(fetch: Fetch, issuer: str) -> Metadata:
    """Ask a provider what it has.

    Raises:
        FetchFailed: it does not answer, or is another one.
    """
    check_url(issuer, "the issuer")
    answer = fetch.get(issuer.rstrip("/") + _WELL_KNOWN)
    if answer.status != 200:
        raise FetchFailed(f"{issuer} answered {answer.status} when asked for its configuration")
    return read_metadata(answer.document(), issuer)


def read_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """Read a provider's configuration; errors as `discover`."""
    if document.get("issuer") != issuer:
        raise FetchFailed(
            f"{issuer} calls itself {document.get('issuer')!r:.200}: that must be the same, to the letter"
        )

    def place(name: str, *, needed: bool = False) -> str:
        value = document.get(name)
        try:
            return check_url(value if isinstance(value, str) else "", f"the {name} of {issuer}")
        except FetchFailed:
            if needed:
                raise
            return ""

    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        issuer,
        place("authorization_endpoint"),
        place("token_endpoint"),
        place("jwks_uri", needed=True),
        place("device_authorization_endpoint"),
        place("revocation_endpoint"),
        tuple(method for method in methods if isinstance(method, str)) if isinstance(methods, list) else (),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def authorization_url(provider: Metadata, client: str, redirect: str, scope: str, proof: Proof, **more: str) -> str:
    """Return where a browser is to go to log in; raises `ProviderRefused` where there is no such place."""
    if not provider.authorization:
        raise ProviderRefused("unsupported", "it has no login by browsers")
    url: str = prepare_grant_uri(
        provider.authorization, client_id=client, response_type="code", redirect_uri=redirect, scope=scope,
        state=proof.state, nonce=proof.nonce, code_challenge=create_s256_code_challenge(proof.verifier),
        code_challenge_method="S256", **more,
    )  # fmt: skip
    return url


def read_code(query: str, provider: Metadata, state: str) -> str:
    """Return the code that a provider sent a browser back with.

    Args:
        query: of the URL that the browser came with.
        provider: that it was sent to.
        state: that it was sent with.

    Raises:
        ProviderRefused: it was sent back with an error.
        FetchFailed: it was not this login that it was sent back from.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise FetchFailed("the answer of the provider cannot be read") from None
    fields = dict(pairs)
    if len(fields) < len(pairs) or not state or not _same(fields.get("state", ""), state):
        raise FetchFailed("this is not the login that was begun here")
    told = fields.get("iss")
    if (told is not None or provider.names_itself) and told != provider.issuer:  # RFC 9207
        raise FetchFailed("another provider answered")
    if "error" in fields:
        raise ProviderRefused(_word(fields["error"]), _word(fields.get("error_description", "")))
    if not fields.get("code"):
        raise FetchFailed("the provider sent no code")
    return fields["code"]


def redeem(
    fetch: Fetch, provider: Metadata, client: Client, code: str, redirect: str, verifier: str, resource: str = ""
) -> Tokens:
    """Exchange a code for tokens.

    Raises:
        ProviderRefused, FetchFailed: as they say.
    """
    fields = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier,
    }  # fmt: skip
    return ask_token(fetch, provider, client, fields, resource)


def ask_token(
    fetch: Fetch, provider: Metadata, client: Client, fields: Mapping[str, str], resource: str = ""
) -> Tokens:
    """Ask for tokens, with whatever a grant consists of; errors as `redeem`."""
    if not provider.token:
        raise ProviderRefused("unsupported", "it gives no tokens to those who ask")
    wanted = {"resource": resource} if resource else {}  # RFC 8707
    answer = _ask(fetch, provider.token, provider, client, {**fields, **wanted})
    document = answer.document()
    lives = document.get("expires_in", 0)
    lives_s = float(lives) if isinstance(lives, int | float) and 0 <= lives < 1 << 31 else 0.0
    found = [document.get(f"{kind}_token", "") for kind in ("access", "id", "refresh")]
    access, identity, refresh = (one if isinstance(one, str) and len(one) <= LONGEST else "" for one in found)
    if not access and not identity:
        raise FetchFailed("the provider answered without a token")
    return Tokens(access, identity, refresh, lives_s)


def ask_device(fetch: Fetch, provider: Metadata, client: Client, scope: str, resource: str = "") -> dict[str, Any]:
    """Begin a login on another device (RFC 8628 section 3.2); errors as `redeem`."""
    if not provider.device:
        raise ProviderRefused("unsupported", "it has no login by another device")
    wanted = {"scope": scope} | ({"resource": resource} if resource else {})
    return _ask(fetch, provider.device, provider, client, wanted).document()


def revoke(fetch: Fetch, provider: Metadata, client: Client, token: str) -> None:
    """Have the provider forget a refresh token, where it can; errors as `redeem`."""
    if provider.revocation:
        _ask(fetch, provider.revocation, provider, client, {"token": token, "token_type_hint": "refresh_token"})


def _ask(fetch: Fetch, url: str, provider: Metadata, client: Client, fields: Mapping[str, str]) -> Answer:
    headers: dict[str, str] = {}
    sent = {**fields, "client_id": client.id}
    if client.secret:
        if "client_secret_basic" in provider.methods or "client_secret_post" not in provider.methods:
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"  # RFC 6749 section 2.3.1
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
            del sent["client_id"]  # one way alone
        else:
            sent["client_secret"] = client.secret
    answer = fetch.post(url, sent, headers)
    if answer.status != 200:
        try:
            document = answer.document()
        except FetchFailed:
            document = {}
        code = document.get("error")
        if isinstance(code, str):
            raise ProviderRefused(_word(code), _word(str(document.get("error_description", ""))))
        raise FetchFailed(f"{urlsplit(url).netloc} answered {answer.status}")
    return answer


def _same(left: str, right: str) -> bool:
    return secrets.compare_digest(left.encode("utf-8", "replace"), right.encode())


def _word(text: str) -> str:
    """Return what a provider said, fit to be shown."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]
