"""Logins of commands with an OpenID provider: by a browser on this machine, by one elsewhere, as a program; renewal.

RFC 8252 (a loopback redirect), RFC 8628 (devices), RFC 6749 sections 4.4 and 6. The gateway says which provider and
client; what is sent to it then is the ID token, or an access token where the gateway wants an audience of its own. One
thread; waits for a person as long as they are given.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from auth.errors import BadCredentials
from auth.jwt import parse_token
from gateway.access.fetch import Fetch, FetchFailed
from gateway.access.oauth import (
    DEVICE,
    Client,
    Metadata,
    Proof,
    ProviderRefused,
    Tokens,
    ask_device,
    ask_token,
    authorization_url,
    discover,
    read_code,
    redeem,
    revoke,
)
from gateway.access.oidc import read_secret
from gateway.cli.logins import OIDC, SERVICE_ACCOUNT, Saved
from gateway.cli.loopback import Loopback
from gateway.errors import ServerFailed, ServerRefused, ServerUnreachable

PATIENCE_S: Final = 300.0  # for somebody who logs in with a browser
LONGEST_DEVICE_S: Final = 1800.0
LONGEST_INTERVAL_S: Final = 60.0  # however slowly the provider wants to be asked
INTERVAL_S: Final = 5.0  # RFC 8628 section 3.2, where the provider names none
MOST: Final = 1e12  # seconds; a number from outside may be more than any float
SLOWER_S: Final = 5.0  # section 3.5
Say = Callable[[str], None]


class ProviderLogin:
    """A login with a provider, for one gateway."""

    def __init__(self, saved: Saved, fetch: Fetch | None = None) -> None:
        """Take what is known of it: issuer, client_id, client_secret_file, scopes and audience.

        Raises:
            ConfigError: the client's secret can't be read.
            ServerUnreachable: the provider does not answer.
        """
        self._saved, self._fetch = saved, fetch or Fetch()
        self._client = Client(saved.client_id, read_secret(saved.client_secret_file, "the client's secret"))
        # A URL is what RFC 8707 asks for; others are named by scopes.
        self._resource = saved.audience if saved.audience.startswith(("https://", "http://")) else ""
        self._provider: Metadata = self._asked(lambda: discover(self._fetch, saved.issuer))

    def by_browser(self, say: Say, show: Callable[[str], None]) -> Saved:
        """Log in by a browser on this machine; `show` opens one, if it can.

        Raises:
            ServerRefused: the provider said no, or nobody logged in.
            ServerUnreachable: it does not answer.
        """
        proof, scopes = Proof.fresh(), self._saved.scopes
        # Without it many providers give no refresh token (OpenID Connect Core, section 11).
        more = {"prompt": "consent"} if "offline_access" in scopes.split() else {}
        if self._resource:
            more["resource"] = self._resource
        with Loopback() as back:
            url = self._asked(
                lambda: authorization_url(self._provider, self._client.id, back.redirect, scopes, proof, **more)
            )
            say("Log in with your browser; if none opens, open this in one on this machine:")
            say(f"  {url}")
            show(url)
            code = back.wait(lambda query: read_code(query, self._provider, proof.state), PATIENCE_S)
            if isinstance(code, ProviderRefused):
                raise ServerRefused(str(code)) from code
            if code is None:
                raise ServerRefused(f"nobody logged in within {PATIENCE_S / 60:.0f} minutes")
            tokens = self._asked(
                lambda: redeem(
                    self._fetch, self._provider, self._client, code, back.redirect, proof.verifier, self._resource
                )
            )
        if tokens.id and _claims(tokens.id).get("nonce") != proof.nonce:
            raise ServerRefused("the provider answered with the token of another login")
        return self._kept(OIDC, tokens)

    def by_device(self, say: Say, sleep: Callable[[float], None] = time.sleep) -> Saved:
        """Log in by a browser on any machine, with a code; errors as `by_browser`."""
        begun = self._asked(
            lambda: ask_device(self._fetch, self._provider, self._client, self._saved.scopes, self._resource)
        )
        device, shown, there = (begun.get(name) for name in ("device_code", "user_code", "verification_uri"))
        if not all(isinstance(one, str) and one.isprintable() and one for one in (device, shown, there)):
            raise ServerFailed("the provider began a login without a code")
        say(f"Open {there} in a browser, on whatever machine, and enter the code {shown}")
        whole = begun.get("verification_uri_complete")
        if isinstance(whole, str) and whole.isprintable():
            say(f"  or open {whole}")
        interval_s = max(_number(begun.get("interval"), INTERVAL_S), 1.0)
        until_s = time.monotonic() + min(_number(begun.get("expires_in"), 600.0), LONGEST_DEVICE_S)
        while time.monotonic() < until_s:
            sleep(min(interval_s, LONGEST_INTERVAL_S))
            try:
                tokens = ask_token(
                    self._fetch, self._provider, self._client, {"grant_type": DEVICE, "device_code": str(device)},
                    self._resource,
                )  # fmt: skip
                return self._kept(OIDC, tokens)
            except FetchFailed:
                interval_s *= 2  # section 3.5: on a time-out
            except ProviderRefused as error:
                if error.code == "slow_down":
                    interval_s += SLOWER_S
                elif error.code != "authorization_pending":
                    raise ServerRefused(str(error)) from error
        raise ServerRefused("the code has expired before anybody logged in with it")

    def as_program(self) -> Saved:
        """Log in as the client itself (client credentials); errors as `by_browser`."""
        scopes = {"scope": self._saved.scopes} if self._saved.scopes else {}
        tokens = self._asked(
            lambda: ask_token(
                self._fetch, self._provider, self._client, {"grant_type": "client_credentials"} | scopes, self._resource
            )
        )
        return self._kept(SERVICE_ACCOUNT, tokens)

    def renewed(self) -> Saved:
        """Return the login with a fresh token; errors as `by_browser`."""
        if self._saved.kind == SERVICE_ACCOUNT:
            return self.as_program()
        fields = {"grant_type": "refresh_token", "refresh_token": self._saved.refresh}
        tokens = self._asked(lambda: ask_token(self._fetch, self._provider, self._client, fields, self._resource))
        return self._kept(OIDC, tokens._replace(refresh=tokens.refresh or self._saved.refresh))

    def revoke(self) -> None:
        """Have the provider forget the login; errors as `by_browser`."""
        if self._saved.refresh:
            self._asked(lambda: revoke(self._fetch, self._provider, self._client, self._saved.refresh))

    def _kept(self, kind: str, tokens: Tokens) -> Saved:
        bearer = pick(tokens, self._saved.audience or self._saved.client_id)
        expires = _claims(bearer).get("exp")
        expires_s = _number(expires, 0.0)
        return self._saved._replace(kind=kind, bearer=bearer, expires_s=expires_s, refresh=tokens.refresh)

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ProviderRefused as error:
            raise ServerRefused(str(error)) from error
        except FetchFailed as error:
            raise ServerUnreachable(str(error)) from error


def renew(server: str, saved: Saved) -> Saved:
    """Return a saved login with a fresh token.

    Raises:
        ServerRefused: it is over.
        ServerUnreachable: the provider does not answer; not while the token is good for another moment.
    """
    try:
        return ProviderLogin(saved).renewed()
    except ServerRefused as error:
        raise ServerRefused(f"the login to {server} is over: `aetherfs login`; {error}") from error
    except ServerUnreachable:
        if saved.expires_s > time.time():
            return saved
        raise


def pick(tokens: Tokens, audience: str) -> str:
    """Return the token that a gateway takes: the one that is for its audience.

    Raises:
        ServerFailed: none is.
    """
    for text in (tokens.access, tokens.id):
        meant = _claims(text).get("aud") if text else None
        if audience == meant or (isinstance(meant, list) and audience in meant):
            return text
    raise ServerFailed(
        f"the provider gave no token that is meant for {audience}: it must be told to (docs/login.md), or "
        "auth.oidc.audience of the gateway changed"
    )


def _claims(text: str) -> dict[str, Any]:
    """Return what a token says; it came from the provider by TLS, and the gateway verifies it. Empty: it is opaque."""
    try:
        return parse_token(text).claims
    except BadCredentials:
        return {}


def _number(value: object, default: float) -> float:
    return float(min(value, MOST)) if isinstance(value, int | float) and value >= 0 else default
