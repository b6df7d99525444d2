"""Login and logout by a browser: the pages below /ui/.

    GET /ui/               who is logged in, and what they can do next
    GET /ui/login          the ways to log in;  POST: with user and password
    GET /ui/login/start    off to the provider (code flow, PKCE, state, nonce: RFC 6749, 7636, OpenID Connect Core)
    GET /ui/login/callback back from it
    POST /ui/logout        ends the session; with `everywhere`, all of the user's

What a login has to remember until the provider sends the browser back lies in a sealed cookie of ten minutes, so that
any gateway can end what another began. Forms repeat a token that the cookie holds: a page elsewhere can neither log
somebody in nor out. Nobody is sent on to another host. No script; nothing is stored by caches. Any thread.
"""

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, parse_qsl, urlsplit

import structlog
from jinja2 import Environment, StrictUndefined

from auth.errors import AuthError, BadCredentials, Throttled, Undecided
from auth.principal import Principal
from auth.session import LOGIN, Sealer, TooLarge
from dav.reply import Buffer, Environ, Reply, StartResponse, header, read_body, send, target_of, text_reply
from gateway.access import audit as events
from gateway.access.audit import NOWHERE, Audit
from gateway.access.fetch import FetchFailed
from gateway.access.oauth import Proof, ProviderRefused, authorization_url, read_code, redeem
from gateway.access.oidc import Login
from gateway.web.cookies import HOME, cookie_name, is_secure, local_path, origin, read_cookie, set_cookie
from gateway.web.sessions import BASIC, OIDC, Sessions
from store.errors import StoreError

LOGIN_COOKIE: Final = "aetherfs-login"  # of a login with the provider
FORM_COOKIE: Final = "aetherfs-form"  # of a login page with a form
LASTS_S: Final = 600  # from the login page to the provider's answer
ASKING: Final = 16  # logins that wait for the provider at a time, so that threads are left where it is slow
LARGEST_FORM: Final = 16 * 1024  # bytes
LONGEST_QUERY: Final = 8 * 1024  # characters; codes are a few hundred
_REDIRECT: Final = "/ui/login/callback"
_FORM: Final = "application/x-www-form-urlencoded"

_log = structlog.stdlib.get_logger("aetherfs.login")


class Passwords(Protocol):
    """Users with passwords."""

    def check(self, user: str, password: bytes, address: str) -> Principal: ...


class LoginApp:
    """The pages. A `dav.reply.WsgiApp`."""

    def __init__(
        self,
        key: bytes,
        sessions: Sessions,
        *,
        passwords: Passwords | None = None,
        login: Login | None = None,
        audit: Audit = NOWHERE,
        public_url: str = "",
        secret: bytes = b"",
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what there is to log in with.

        Args:
            key: the store's handle key.
            sessions: makes sessions.
            passwords: checks user and password, if there are any.
            login: the provider, if there is one.
            audit: told of logins, refusals and logouts.
            public_url: where browsers reach the gateway; empty: where they ask.
            secret: as of `Sessions`.
            now: tells seconds since 1970.
        """
        self._sealer, self._sessions = Sealer(key, LOGIN, secret=secret), sessions
        self._passwords, self._login, self._audit = passwords, login, audit
        self._public_url, self._now = public_url, now
        self._asking = threading.BoundedSemaphore(ASKING)
        source = resources.files("gateway.web").joinpath("login.html").read_text("utf-8")
        self._template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
        style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style[1].encode() if style else b"").digest()).decode()
        self._headers: Final = [
            (
                "Content-Security-Policy",
                f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'self'; "
                "frame-ancestors 'none'",
            ),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request; raises `BodyBroken`, where a form does not end."""
        return send(self._answer(environ), environ, start_response)

    def _answer(self, environ: Environ) -> Reply:
        path, _, query = target_of(environ).partition("?")
        if "://" in path:  # an absolute target
            path = urlsplit(path).path
        pages = {
            "/ui": {"GET": self._home},
            "/ui/": {"GET": self._home},
            "/ui/login": {"GET": self._ways, "POST": self._log_in},
            "/ui/login/start": {"GET": self._start},
            _REDIRECT: {"GET": self._back},
            "/ui/logout": {"POST": self._log_out},
        }
        methods = pages.get(path)
        if methods is None:
            return text_reply(404, "nothing here; the login page is /ui/login", self._headers)
        method = environ["REQUEST_METHOD"]
        page = methods.get("GET" if method == "HEAD" else method)
        if page is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            return text_reply(405, f"{method} is not for this", [("Allow", allowed), *self._headers])
        if origin(environ, self._public_url) is None:
            return text_reply(400, "the Host that was asked is none", self._headers)
        if len(query) > LONGEST_QUERY:
            return text_reply(414, "the query is too long", self._headers)
        try:
            return page(environ, query)
        except Undecided as error:
            _log.warning("session can't be checked", why=str(error))
            return self._said(503, "The login can't be checked at the moment. Try again in a moment.")

    # who is logged in

    def _home(self, environ: Environ, query: str) -> Reply:
        session = self._sessions.session(environ)
        if session is None:
            return self._to(f"/ui/login?next={HOME}")
        return self._page(
            200, "Logged in", session=session, until=_spelled(session.expires_s), origin=self._at(environ)
        )

    def _ways(self, environ: Environ, query: str) -> Reply:
        onward = local_path(_first(query, "next"))
        if self._sessions.session(environ) is not None:
            return self._to(onward)
        return self._ask(environ, 200, onward)

    # with user and password

    def _log_in(self, environ: Environ, query: str) -> Reply:
        form = _read_form(environ)
        if form is None:
            return self._said(400, "The form cannot be read.")
        onward, user, address = local_path(form.get("next", "")), form.get("user", ""), _address(environ)
        if self._passwords is None:
            return self._said(404, "There is no login with user and password here.")
        begun = self._remembered(environ, FORM_COOKIE)
        if begun is None or not _same(form.get("csrf", ""), str(begun.get("csrf", ""))):
            return self._ask(environ, 403, onward, "The page was open for too long, or cookies are off. Try again.")
        try:
            principal = self._passwords.check(user, form.get("password", "").encode("utf-8", "replace"), address)
        except AuthError as error:
            self._audit.note(
                events.LOGIN, events.REFUSED, principal=f"user:{user}", address=address, why=str(error), surface="ui"
            )
            return self._refused(environ, error, onward, user)
        return self._let_in(environ, principal, BASIC, onward)

    def _refused(self, environ: Environ, error: AuthError, onward: str, user: str) -> Reply:
        if isinstance(error, Throttled):
            reply = self._ask(environ, 429, onward, "Too many wrong passwords. Try again later.", user)
            reply.headers.append(("Retry-After", str(max(1, round(error.retry_after_s)))))
            return reply
        if isinstance(error, Undecided):
            return self._ask(environ, 503, onward, "The password can't be checked at the moment.", user)
        return self._ask(environ, 403, onward, "User or password is wrong.", user)

    # with the provider

    def _start(self, environ: Environ, query: str) -> Reply:
        if self._login is None:
            return self._said(404, "There is no login with a provider here.")
        onward, proof = local_path(_first(query, "next")), Proof.fresh()
        redirect = f"{self._at(environ)}{_REDIRECT}"
        metadata = self._login.provider.metadata()
        try:
            there = authorization_url(metadata, self._login.client.id, redirect, self._login.scopes, proof)
        except ProviderRefused as error:
            return self._failed(environ, str(error), "The provider has no login by browsers.")
        begun = {**proof._asdict(), "redirect": redirect, "next": onward}
        return self._to(there, self._remember(environ, LOGIN_COOKIE, begun))

    def _back(self, environ: Environ, query: str) -> Reply:
        if self._login is None:
            return self._said(404, "There is no login with a provider here.")
        begun, address = self._remembered(environ, LOGIN_COOKIE), _address(environ)
        if begun is None or "state" not in begun:
            return self._failed(environ, "there is no login under way", "The login took too long, or cookies are off.")
        try:
            principal = self._redeemed(begun, query, self._login)
        except Undecided:
            raise
        except (AuthError, FetchFailed, ProviderRefused) as error:
            self._audit.note(
                events.LOGIN, events.REFUSED, principal="unknown", address=address, why=str(error), surface="ui"
            )
            denied = isinstance(error, ProviderRefused) and error.code == "access_denied"
            # What is no answer to this login, or not yet, does not end it: anybody can send a browser here.
            over = () if isinstance(error, FetchFailed) else (self._forget(environ),)
            said = "The login was cancelled." if denied else "The login failed."
            return self._failed(environ, str(error), said, *over)
        return self._let_in(environ, principal, OIDC, local_path(str(begun.get("next", ""))))

    def _redeemed(self, begun: Mapping[str, Any], query: str, login: Login) -> Principal:
        metadata = login.provider.metadata()
        code = read_code(query, metadata, str(begun["state"]))
        if not self._asking.acquire(blocking=False):
            raise Undecided(f"{ASKING} logins wait for the provider already")
        try:
            found = redeem(
                login.provider.fetch, metadata, login.client, code, str(begun["redirect"]), str(begun["verifier"])
            )
        finally:
            self._asking.release()
        if not found.id:
            raise BadCredentials("the provider sent no ID token: the scopes must have openid")
        return login.tokens.login(found.id, str(begun["nonce"]))

    def _failed(self, environ: Environ, why: str, message: str, *cookies: tuple[str, str]) -> Reply:
        _log.warning("login failed", why=why, address=_address(environ))
        return self._said(403, message, *cookies)

    # in and out

    def _let_in(self, environ: Environ, principal: Principal, way: str, onward: str) -> Reply:
        address = _address(environ)
        try:
            cookie = self._sessions.begin(environ, principal, way)
        except TooLarge as error:
            self._audit.note(
                events.LOGIN, events.REFUSED, principal=principal, address=address, why=str(error), surface="ui"
            )
            _log.warning("too many groups for a session", principal=str(principal), groups=len(principal.groups))
            return self._said(403, "You are in more groups than a browser's session can hold.", self._forget(environ))
        self._audit.note(events.LOGIN, events.OK, principal=principal, address=address, way=way, surface="ui")
        done = FORM_COOKIE if way == BASIC else LOGIN_COOKIE
        return self._to(onward, cookie, self._forget(environ, done))

    def _log_out(self, environ: Environ, query: str) -> Reply:
        form, session = _read_form(environ), self._sessions.session(environ)
        if session is None:
            # Without a word to the cookie: browsers send none along with another site's form, but would drop it.
            return self._to("/ui/login")
        if form is None or not _same(form.get("csrf", ""), session.csrf):
            return self._said(403, "That was no button of this gateway's own page. You are still logged in.")
        everywhere = bool(form.get("everywhere"))
        told = True
        try:
            self._sessions.end(session, everywhere=everywhere)
        except StoreError as error:
            _log.error("logout can't be told to other gateways", why=str(error), principal=str(session.principal))
            told = False
        self._audit.note(
            events.LOGOUT, events.OK if told else events.REFUSED, principal=session.principal,
            address=_address(environ), everywhere=everywhere, surface="ui",
        )  # fmt: skip
        if not told:
            # The cookie stays, so that it can be tried again; on this gateway it is good for nothing.
            return self._said(503, "Logged out here, but other gateways of this store can't be told at the moment.")
        return self._said(
            200, "", self._sessions.forget(environ), title="Logged out", again="/ui/login", onward="Log in again"
        )

    # pages

    def _ask(self, environ: Environ, status: int, onward: str, message: str = "", user: str = "") -> Reply:
        """Return the page with the ways to log in."""
        if self._login is None and self._passwords is None:
            return self._said(404, "There is no login by browser here.")
        csrf = secrets.token_urlsafe(24)
        return self._page(
            status, "Log in", self._remember(environ, FORM_COOKIE, {"csrf": csrf}), ways=True, message=message,
            csrf=csrf, next=onward, user=user[:256], basic=self._passwords is not None,
            provider=urlsplit(self._login.provider.issuer).netloc if self._login is not None else "",
        )  # fmt: skip

    def _said(
        self, status: int, message: str, *cookies: tuple[str, str], title: str = "Login", again: str = "/ui/login",
        onward: str = "To the login page",
    ) -> Reply:  # fmt: skip
        return self._page(status, title, *cookies, message=message, again=again, onward=onward)

    def _page(self, status: int, title: str, *cookies: tuple[str, str], **more: Any) -> Reply:
        told = {"session": None, "ways": False, "message": ""} | more
        body = self._template.render(title=title, **told).encode("utf-8", "replace")
        fixed = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        return Reply(status, [*fixed, *self._headers, *cookies], (body,))

    def _to(self, place: str, *cookies: tuple[str, str]) -> Reply:
        return text_reply(303, "see there", [("Location", place), *self._headers, *cookies])

    # what a login remembers

    def _remember(self, environ: Environ, name: str, what: dict[str, Any]) -> tuple[str, str]:
        text = self._sealer.seal({**what, "for": name, "exp": int(self._now()) + LASTS_S})
        return self._cookie(environ, name, text, LASTS_S)

    def _remembered(self, environ: Environ, name: str) -> dict[str, Any] | None:
        text = read_cookie(environ, cookie_name(name, secure=is_secure(environ, self._public_url)))
        try:
            begun = self._sealer.open(text or "")
        except BadCredentials:
            return None
        ends_s = begun.get("exp")
        good = begun.get("for") == name and isinstance(ends_s, int) and self._now() < ends_s
        return begun if good else None

    def _forget(self, environ: Environ, name: str = LOGIN_COOKIE) -> tuple[str, str]:
        return self._cookie(environ, name, "", 0)

    def _cookie(self, environ: Environ, name: str, text: str, lasts_s: int) -> tuple[str, str]:
        secure = is_secure(environ, self._public_url)
        return set_cookie(cookie_name(name, secure=secure), text, secure=secure, lasts_s=lasts_s)

    def _at(self, environ: Environ) -> str:
        return origin(environ, self._public_url) or ""


def _read_form(environ: Environ) -> dict[str, str] | None:
    """Return the fields of a form; `None` for what is no form, or larger than ours."""
    kind = (header(environ, "Content-Type") or str(environ.get("CONTENT_TYPE", ""))).partition(";")[0].strip().lower()
    if kind != _FORM:
        return None
    body = read_body(environ, LARGEST_FORM + 1)
    if len(body) > LARGEST_FORM:
        return None
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def _first(query: str, name: str) -> str:
    try:
        return parse_qs(query, max_num_fields=20).get(name, [""])[0]
    except ValueError:
        return ""


def _same(told: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(told.encode("utf-8", "replace"), expected.encode())


def _address(environ: Mapping[str, Any]) -> str:
    return str(environ.get("REMOTE_ADDR", ""))


def _spelled(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
