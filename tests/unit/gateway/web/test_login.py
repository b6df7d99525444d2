"""The login pages: what they say, whom they let in, and what they refuse."""

import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from auth.errors import BadCredentials, Throttled, Undecided
from auth.oidc import Rules
from auth.principal import Principal, user
from auth.session import SESSION, Sealer, begin, seal_session
from dav.reply import TLS
from gateway.access.audit import Audit
from gateway.access.ended import Ended
from gateway.access.oauth import Client
from gateway.access.oidc import Login
from gateway.access.provider import OidcTokens, Provider
from gateway.web.login import LoginApp
from gateway.web.sessions import Sessions
from store.errors import StoreUnavailable
from store.objects.memory import MemoryStore
from tests.support.issuer import Issuer, issuer
from tests.support.jwts import CLIENT, rsa
from tests.unit.dav.calls import environ_for

KEY = bytes(range(32))
FORM = "application/x-www-form-urlencoded"


class Passwords:
    """Ada's password is `right`; others say what goes wrong."""

    def check(self, name: str, password: bytes, address: str) -> Principal:
        if name == "slow":
            raise Throttled("too many", 30)
        if name == "away":
            raise Undecided("no")
        if (name, password) != ("ada", b"right"):
            raise BadCredentials(f"not {name}'s")
        return user("ada", frozenset(("staff",)))


class Answer:
    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.fields, self.text = status, fields, body.decode()
        self.headers = dict(fields)

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies that are set, with their attributes."""
        return dict(value.split("=", 1) for name, value in self.fields if name == "Set-Cookie")


class Browser:
    """Keeps cookies, and asks one application."""

    def __init__(self, app: LoginApp, *, tls: bool = False) -> None:
        self.app, self.tls = app, tls
        self.jar: dict[str, str] = {}

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, **form: str) -> Answer:
        body = urlencode(form).encode()
        environ = environ_for(
            method, target, {"Content-Type": FORM, "Host": "data.example.org"} | (headers or {}), body
        )
        environ["REMOTE_ADDR"] = "192.0.2.7"
        if self.jar:
            environ["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        if self.tls:
            environ[TLS] = True
        began: list[Any] = []
        pieces = self.app(environ, lambda status, fields: began.append((status, fields)))
        answer = Answer(int(began[0][0][:3]), began[0][1], b"".join(map(bytes, pieces)))
        for name, value in answer.cookies.items():
            if "Max-Age=0" in value:
                self.jar.pop(name, None)
            else:
                self.jar[name] = value.partition(";")[0]
        return answer

    def csrf(self, target: str = "/ui/login") -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("GET", target).text)
        assert found is not None
        return found[1]

    def log_in(self, name: str = "ada", password: str = "right", **more: str) -> Answer:
        form = {"csrf": self.csrf(), "user": name, "password": password} | more
        return self.ask("POST", "/ui/login", None, **form)


class Bench:
    def __init__(self, url: str, audit: Audit) -> None:
        self.store = MemoryStore()
        self.ended = Ended(self.store)
        self.marks: dict[str, str | None] = {"ada": "first"}
        self.sessions = Sessions(KEY, self.ended, lasts_s=3600, mark=self.marks.get)
        provider = Provider(url)
        tokens = OidcTokens(provider, Rules(url, CLIENT))
        self.login = Login(provider, tokens, Client(CLIENT), "openid profile")
        self.app = LoginApp(KEY, self.sessions, passwords=Passwords(), login=self.login, audit=audit)


@pytest.fixture
def running() -> Iterator[Issuer]:
    with issuer(rsa()) as found:
        yield found


@pytest.fixture
def bench(running: Issuer, tmp_path: Any) -> Bench:
    return Bench(running.url, Audit(str(tmp_path / "audit")))


@pytest.fixture
def browser(bench: Bench) -> Browser:
    return Browser(bench.app)


def test_a_password_lets_in_and_the_page_says_who(browser: Browser) -> None:
    answer = browser.log_in(next="/fs/geo/")
    assert (answer.status, answer.headers["Location"]) == (303, "/fs/geo/")
    home = browser.ask("GET", "/ui/")
    assert home.status == 200
    assert "<dd>ada</dd>" in home.text
    assert "<dd>staff</dd>" in home.text
    assert browser.ask("GET", "/ui/login?next=/fs/").headers["Location"] == "/fs/"  # who is in is not asked again


@pytest.mark.parametrize("target", ["/ui/", "/ui/login", "/ui/nothing", "/ui/logout", "/ui/login/callback"])
def test_every_answer_is_kept_by_nobody_and_runs_nothing(browser: Browser, target: str) -> None:
    headers = browser.ask("GET", target).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert "unsafe" not in policy


def test_cookies_over_tls_have_the_prefix_and_are_secure(bench: Browser) -> None:
    browser = Browser(bench.app, tls=True)
    answer = browser.log_in()
    for name, value in answer.cookies.items():
        assert name.startswith("__Host-")
        for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert flag in value
        assert "Domain" not in value
    plain = Browser(bench.app)
    plain.jar = {name.removeprefix("__Host-"): value for name, value in browser.jar.items()}
    tls = Browser(bench.app, tls=True)
    tls.jar = plain.jar
    assert tls.ask("GET", "/ui/").status == 303  # what plain HTTP could plant counts for nothing there


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [("ada", "wrong", 403), ("eve", "right", 403), ("", "", 403), ("slow", "x", 429), ("away", "x", 503)],
)
def test_wrong_passwords_say_the_same_and_let_nobody_in(
    browser: Browser, name: str, password: str, status: int
) -> None:
    answer = browser.log_in(name, password)
    assert answer.status == status
    assert "aetherfs" not in browser.jar
    if status == 403:
        assert "User or password is wrong." in answer.text
    if status == 429:
        assert answer.headers["Retry-After"] == "30"


def test_a_form_of_another_page_logs_nobody_in(bench: Bench, browser: Browser) -> None:
    for csrf in ("", "x", Browser(bench.app).csrf()):
        browser.ask("GET", "/ui/login")
        answer = browser.ask("POST", "/ui/login", user="ada", password="right", csrf=csrf)
        assert answer.status == 403
        assert "aetherfs" not in browser.jar
    assert Browser(bench.app).ask("POST", "/ui/login", user="ada", password="right", csrf=browser.csrf()).status == 403


def test_what_is_no_form_is_refused(browser: Browser) -> None:
    csrf = browser.csrf()
    for headers, form in (
        ({"Content-Type": "application/json"}, {"csrf": csrf}),
        ({"Content-Type": "text/plain"}, {"csrf": csrf}),
        ({}, {"csrf": csrf, "user": "a" * 20_000}),
        ({}, {f"f{n}": "" for n in range(30)}),
    ):
        assert browser.ask("POST", "/ui/login", headers, **form).status == 400


def test_each_login_is_a_session_of_its_own_whatever_cookie_came(bench: Bench, browser: Browser) -> None:
    browser.log_in()
    first = browser.jar["aetherfs"]
    browser.ask("POST", "/ui/login", user="ada", password="right", csrf=Browser(bench.app).csrf())
    fixed = Browser(bench.app)
    fixed.jar["aetherfs"] = "planted"
    fixed.log_in()
    assert fixed.jar["aetherfs"] not in ("planted", first)


@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/fs/\r\nX: y", "/ui/logout"]
)
def test_nobody_is_sent_to_another_place(browser: Browser, onward: str) -> None:
    assert browser.log_in(next=onward).headers["Location"] == "/ui/"
    assert browser.ask("GET", "/ui/login?" + urlencode({"next": onward})).headers["Location"] == "/ui/"


def test_a_page_shows_what_was_typed_as_text(browser: Browser) -> None:
    answer = browser.log_in('"><script>alert(1)</script>', "x", next='/fs/"><script>')
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "", "a\\b"])
def test_a_host_that_is_none_is_refused(browser: Browser, host: str) -> None:
    assert browser.ask("GET", "/ui/login", {"Host": host}).status == 400


def test_other_methods_are_told(browser: Browser) -> None:
    assert browser.ask("GET", "/ui/logout").headers["Allow"] == "POST"
    assert browser.ask("PUT", "/ui/login").headers["Allow"] == "GET, POST, HEAD"
    assert browser.ask("HEAD", "/ui/login").text == ""


# the provider


def test_the_way_to_the_provider_has_all_proofs_and_asks_for_nothing_lasting(browser: Browser, running: Issuer) -> None:
    there = urlsplit(browser.ask("GET", "/ui/login/start?next=/fs/").headers["Location"])
    assert f"{there.scheme}://{there.netloc}" == running.url
    fields = {name: value for name, (value,) in parse_qs(there.query).items()}
    assert fields["redirect_uri"] == "http://data.example.org/ui/login/callback"
    assert fields["code_challenge_method"] == "S256"
    assert fields["scope"] == "openid profile"
    assert len({fields["state"], fields["nonce"], fields["code_challenge"]}) == 3
    again = parse_qs(urlsplit(browser.ask("GET", "/ui/login/start").headers["Location"]).query)
    assert again["state"][0] != fields["state"]


@pytest.mark.parametrize(
    "query", ["", "code=x", "code=x&state=wrong", "error=access_denied&state=wrong", "state={}&code=x&state=y"]
)
def test_an_answer_of_no_login_of_this_browser_is_refused(browser: Browser, query: str) -> None:
    started = browser.ask("GET", "/ui/login/start")
    state = parse_qs(urlsplit(started.headers["Location"]).query)["state"][0]
    assert browser.ask("GET", f"/ui/login/callback?{query.format(state)}").status == 403
    assert "aetherfs" not in browser.jar


def test_an_answer_in_another_browser_is_refused(bench: Bench, browser: Browser) -> None:
    started = browser.ask("GET", "/ui/login/start")
    state = parse_qs(urlsplit(started.headers["Location"]).query)["state"][0]
    assert Browser(bench.app).ask("GET", f"/ui/login/callback?code=x&state={state}").status == 403


def test_a_cancelled_login_says_so(browser: Browser) -> None:
    started = browser.ask("GET", "/ui/login/start")
    state = parse_qs(urlsplit(started.headers["Location"]).query)["state"][0]
    answer = browser.ask("GET", f"/ui/login/callback?error=access_denied&state={state}")
    assert answer.status == 403
    assert "cancelled" in answer.text
    assert browser.ask("GET", f"/ui/login/callback?code=x&state={state}").status == 403  # once


def test_a_provider_without_a_login_for_browsers_is_told(browser: Browser, running: Issuer) -> None:
    running.changed = {"authorization_endpoint": "javascript:alert(1)"}
    answer = browser.ask("GET", "/ui/login/start")
    assert (answer.status, "no login by browsers" in answer.text, "Location" in answer.headers) == (403, True, False)


def test_a_provider_that_is_away_is_told(browser: Browser, running: Issuer) -> None:
    running.status = 500
    assert browser.ask("GET", "/ui/login/start").status == 503


# logout


def test_a_logout_ends_the_session_even_for_who_kept_the_cookie(bench: Bench, browser: Browser) -> None:
    browser.log_in()
    kept = dict(browser.jar)
    answer = browser.ask("POST", "/ui/logout", csrf=browser.csrf("/ui/"))
    assert answer.status == 200
    assert "aetherfs" not in browser.jar
    replayed = Browser(bench.app)
    replayed.jar = kept
    assert replayed.ask("GET", "/ui/").status == 303


def test_a_logout_on_all_devices_ends_the_others(bench: Bench, browser: Browser) -> None:
    other = Browser(bench.app)
    other.log_in()
    browser.log_in()
    browser.ask("POST", "/ui/logout", csrf=browser.csrf("/ui/"), everywhere="yes")
    assert other.ask("GET", "/ui/").status == 303
    other.log_in()
    assert other.ask("GET", "/ui/").status == 200


def test_a_form_of_another_page_logs_nobody_out(bench: Bench, browser: Browser) -> None:
    browser.log_in()
    other = Browser(bench.app)
    other.log_in()
    for csrf in ("", "x", other.csrf("/ui/")):
        assert browser.ask("POST", "/ui/logout", csrf=csrf).status == 403
    assert browser.ask("GET", "/ui/").status == 200


def test_a_logout_without_a_cookie_does_not_drop_the_one_that_the_browser_kept_back(bench: Bench) -> None:
    answer = Browser(bench.app).ask("POST", "/ui/logout", csrf="x")
    assert (answer.status, answer.cookies) == (303, {})


def test_an_answer_that_is_made_up_does_not_end_the_login_under_way(browser: Browser) -> None:
    browser.ask("GET", "/ui/login/start")
    assert browser.ask("GET", "/ui/login/callback?code=x&state=made-up").cookies == {}


def test_a_logout_that_others_can_not_be_told_says_so(
    bench: Bench, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in()
    csrf = browser.csrf("/ui/")

    def away(*_: object, **__: object) -> str:
        raise StoreUnavailable("memory:", "told to be away")

    monkeypatch.setattr(bench.store, "put_if", away)
    answer = browser.ask("POST", "/ui/logout", csrf=csrf)
    assert answer.status == 503
    assert "can't be told" in unescape(answer.text)
    assert browser.ask("GET", "/ui/").status == 303


# sessions


def test_a_session_ends_with_the_password_that_began_it_and_with_its_user(bench: Bench, browser: Browser) -> None:
    browser.log_in()
    assert "with your user name and password" in browser.ask("GET", "/ui/").text
    assert "<dd>ada</dd>" in browser.ask("GET", "/ui/").text
    for mark in ("second", None):
        bench.marks["ada"] = mark
        assert "<dd>ada</dd>" not in browser.ask("GET", "/ui/").text
    bench.marks["ada"] = "first"
    assert "<dd>ada</dd>" in browser.ask("GET", "/ui/").text


def test_a_session_of_another_store_or_an_old_one_is_none(bench: Bench, browser: Browser) -> None:
    for sealer, now_s in ((Sealer(bytes(32), SESSION), time.time()), (Sealer(KEY, SESSION), time.time() - 7200)):
        browser.jar["aetherfs"] = seal_session(sealer, begin(user("ada"), now_s, 3600, "basic"))
        assert browser.ask("GET", "/ui/").status == 303


def test_the_audit_log_tells_of_logins_refusals_and_logouts_and_of_no_secret(browser: Browser, tmp_path: Any) -> None:
    browser.log_in("ada", "a-wrong-one")
    browser.log_in()
    csrf = browser.csrf("/ui/")
    cookie = browser.jar["aetherfs"]
    browser.ask("POST", "/ui/logout", csrf=csrf)
    text = (tmp_path / "audit").read_text()
    assert [re.sub(r'.*"event": "(\w+)", "outcome": "(\w+)".*', r"\1 \2", line) for line in text.splitlines()] == [
        "login refused", "login ok", "logout ok",
    ]  # fmt: skip
    for secret in ("a-wrong-one", "right", csrf, cookie):
        assert secret not in text
