"""Who asks, by what a request carries, and whether they are asked to log in first: with real passwords and tokens."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import BadCredentials, Undecided
from auth.htpasswd import parse_htpasswd
from auth.passwords import Passwords
from auth.policy import Policy, parse_policy
from auth.principal import ANONYMOUS, Principal, user
from auth.throttle import Throttle
from auth.tokens import HTTP, parse_rules
from dav.reply import CERTIFICATE, Environ
from gateway.access.audit import Audit
from gateway.access.environ import CSRF, SESSION, principal_of
from gateway.access.gate import Gate, Stopped, dataset_of
from gateway.access.identify import Identifier, Ways, claimed
from gateway.access.tokens import Tokens
from store.errors import NotWarm
from store.objects.local import FolderStore
from tests.unit.dav.calls import environ_for

POLICY = """
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["open", "@pub/*"]
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["*"]
"""


class Fixed(NamedTuple):
    policy: Policy
    generation: int = 0


class Seen(NamedTuple):
    principal: Principal
    csrf: str


class Cookies:
    """Sessions that every cookie `s=NAME` opens."""

    def session(self, environ: Mapping[str, Any], *, wait: bool = True) -> Seen | None:
        name = str(environ["HTTP_COOKIE"]).partition("s=")[2]
        return Seen(user(name), "secret of the form") if name else None


class Certificates:
    def principal(self, certificate: bytes) -> Principal:
        if certificate == b"unknown":
            raise BadCredentials("whose certificate it is")
        return user(certificate.decode())


class Away:
    """A provider that does not answer."""

    def known(self, text: str) -> Principal | None:
        return None

    def check(self, text: str) -> Principal:
        raise Undecided("no answer")


class World:
    def __init__(self, folder: Path) -> None:
        digest = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
        users = parse_htpasswd(f"ada:{digest}\nbob:{digest}\n".encode())
        self.tokens = Tokens(FolderStore(folder / "store", create=True))
        self.log = folder / "audit"
        ways = Ways(Passwords(lambda: users, Throttle()), self.tokens, Away(), Cookies(), Certificates())
        self.gate = Gate(Identifier(ways), Fixed(parse_policy(POLICY)), Audit(str(self.log)))
        self.page = Gate(Identifier(ways), Fixed(parse_policy(POLICY)), Audit(), page=True)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def asked(target: str = "/fs/open/", method: str = "GET", **fields: str) -> Environ:
    environ = environ_for(method, target, {name.replace("_", "-"): value for name, value in fields.items()}, b"")
    environ["REMOTE_ADDR"] = "192.0.2.7"
    return environ


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def names_of(target: str) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in target.split("/")[2:] if part)


def admitted(gate: Gate, environ: Environ) -> Principal:
    return gate.admit(environ, names_of(environ["REQUEST_URI"]))


def refused(gate: Gate, environ: Environ) -> int:
    with pytest.raises(Stopped) as stopped:
        admitted(gate, environ)
    return stopped.value.reply.status


def test_who_says_nothing_is_anonymous_and_sees_what_is_open(world: World) -> None:
    assert admitted(world.gate, asked()) == ANONYMOUS
    assert admitted(world.gate, asked("/fs/")) == ANONYMOUS
    assert admitted(world.gate, asked("/fs/@pub/x/1.0.0")) == ANONYMOUS
    assert admitted(world.gate, asked("/fs/@pub")) == ANONYMOUS  # a scope: its listing shows what they may see


@pytest.mark.parametrize(
    "target",
    ["/fs/closed/", "/fs/@secret", "/fs/@pu/", "/fs/@", "/fs/closed/1.0.0/a", "/fs/@secret/x", "/fs/never-was"],
)
def test_who_says_nothing_is_asked_to_log_in_wherever_they_may_not_read(world: World, target: str) -> None:
    with pytest.raises(Stopped) as stopped:
        admitted(world.gate, asked(target))
    reply = stopped.value.reply
    assert reply.status == 401
    assert [value.split()[0] for name, value in reply.headers if name == "WWW-Authenticate"] == ["Basic", "Bearer"]
    assert ("DAV", "1") in reply.headers
    assert ("Cache-Control", "no-store") in reply.headers


def test_where_nothing_is_open_even_the_listing_asks_for_a_login(world: World) -> None:
    gate = Gate(Identifier(Ways()), Fixed(parse_policy('[[rule]]\nallow=["read"]\nto=["user:a"]\non=["*"]')), Audit())
    assert refused(gate, asked("/fs/")) == 401
    assert refused(gate, asked("/webdav/", method="OPTIONS")) == 401


def test_a_password_is_checked_once_and_then_known(world: World) -> None:
    environ = asked("/fs/closed/", Authorization=basic("ada", "right"))
    with pytest.raises(NotWarm):
        admitted(world.gate.prompt(), environ)
    assert admitted(world.gate, environ) == user("ada")
    assert principal_of(environ) == user("ada")
    assert admitted(world.gate.prompt(), environ) == user("ada")
    assert world.gate.known(environ) == user("ada")
    logins = [event for event in world.events() if event["event"] == "login"]
    assert [(e["principal"], e["outcome"], e["way"], e["address"]) for e in logins] == [
        ("user:ada", "ok", "password", "192.0.2.7")
    ]


def test_a_wrong_password_is_never_anonymous(world: World) -> None:
    environ = asked("/fs/open/", Authorization=basic("ada", "wrong"))
    with pytest.raises(NotWarm):
        admitted(world.gate.prompt(), environ)
    assert refused(world.gate, environ) == 401
    assert world.gate.known(environ) is None
    event = world.events()[-1]
    assert (event["event"], event["outcome"], event["principal"]) == ("login", "refused", "user:ada")
    assert "wrong" not in json.dumps({**event, "why": ""})
    assert basic("ada", "wrong")[6:] not in world.log.read_text()


def test_after_many_wrong_passwords_one_is_told_to_wait(world: World) -> None:
    for number in range(8):
        status = refused(world.gate, asked(Authorization=basic("ada", f"wrong{number}")))
        if status == 429:
            break
    with pytest.raises(Stopped) as stopped:
        admitted(world.gate, asked(Authorization=basic("ada", "wrong again")))
    assert stopped.value.reply.status == 429
    assert int(dict(stopped.value.reply.headers)["Retry-After"]) >= 1


def test_a_token_is_a_password_of_any_user_and_a_bearer(world: World) -> None:
    text, _ = world.tokens.create("ci", parse_rules(["read:closed"], kind=HTTP))
    for authorization in (basic("anything", str(text)), basic("", str(text)), f"Bearer {text}", f"bearer  {text}"):
        environ = asked("/fs/closed/", Authorization=authorization)
        assert str(admitted(world.gate, environ)) == "token:ci"
    assert str(text) not in world.log.read_text()
    world.tokens.revoke("ci")
    assert refused(world.gate, asked("/fs/closed/", Authorization=f"Bearer {text}")) == 401
    assert str(text) not in world.log.read_text()


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Digest username=x", "Bearer",
     "Negotiate abc", "Basic " + "A" * 40_000, "Bearer aefs_", "Bearer aefs_x_y"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(world: World, authorization: str) -> None:
    assert refused(world.gate, asked("/fs/open/", Authorization=authorization)) == 401


def test_a_provider_that_is_away_is_no_refusal(world: World) -> None:
    with pytest.raises(Stopped) as stopped:
        admitted(world.gate, asked(Authorization="Bearer eyJ.eyJ.sig"))
    assert stopped.value.reply.status == 503
    assert "Retry-After" in dict(stopped.value.reply.headers)


def test_a_certificate_logs_in_and_is_noted_once_in_a_while(world: World) -> None:
    for _ in range(3):
        assert admitted(world.gate, {**asked("/fs/closed/"), CERTIFICATE: b"ada"}) == user("ada")
        assert admitted(world.gate.prompt(), {**asked("/fs/closed/"), CERTIFICATE: b"ada"}) == user("ada")
    assert [event["way"] for event in world.events()] == ["certificate"]
    assert refused(world.gate, {**asked(), CERTIFICATE: b"unknown"}) == 401
    environ = {**asked("/fs/closed/", Authorization=basic("bob", "right")), CERTIFICATE: b"ada"}
    assert admitted(world.gate, environ) == user("bob")  # what is said aloud counts


def test_a_cookie_opens_a_session_and_an_old_one_is_no_login(world: World) -> None:
    environ = asked("/fs/closed/", Cookie="s=ada")
    assert admitted(world.gate, environ) == user("ada")
    assert (environ[SESSION], environ[CSRF]) == (True, "secret of the form")
    old = asked("/fs/open/", Cookie="theme=dark")
    assert admitted(world.gate, old) == ANONYMOUS
    assert SESSION not in old


def test_denials_are_told_to_the_audit_log(world: World) -> None:
    environ = asked("/fs/closed/1.0.0/a", Authorization=basic("bob", "right"))
    assert admitted(world.gate, environ) == user("bob")  # whose tree has no such dataset: 404
    event = world.events()[-1]
    assert (event["event"], event["outcome"], event["principal"]) == ("denial", "refused", "user:bob")
    assert (event["dataset"], event["action"], event["target"]) == ("closed", "read", "/fs/closed/1.0.0/a")


def test_a_denial_is_noted_once_though_nobody_may_wait_at_first(world: World) -> None:
    bob = asked("/fs/closed/x", Authorization=basic("bob", "right"))
    admitted(world.gate, asked("/fs/open/x", Authorization=basic("bob", "right")))
    with pytest.raises(NotWarm):
        admitted(world.gate.prompt(), bob)
    assert admitted(world.gate, bob) == user("bob")
    assert refused(world.gate.prompt(), asked("/fs/closed/x")) == 401  # an answer at once, and so noted there
    denials = [line["principal"] for line in world.events() if line["event"] == "denial"]
    assert denials == ["user:bob", "anonymous"]


def test_a_strangers_change_by_the_api_is_noted(world: World) -> None:
    with pytest.raises(Stopped):
        world.gate.admit_api(asked("/api/v1/tokens", "POST"))
    [line] = world.events()
    assert (line["event"], line["principal"], line["action"], line["target"]) == (
        "denial", "anonymous", "POST", "/api/v1/tokens",
    )  # fmt: skip


def test_browsers_are_sent_to_the_login_page_and_programs_are_not(world: World) -> None:
    with pytest.raises(Stopped) as stopped:
        admitted(world.page, asked("/fs/closed/?sort=size&x=//evil", Accept="text/html,*/*"))
    assert stopped.value.reply.status == 303
    where = dict(stopped.value.reply.headers)["Location"]
    assert where == "/ui/login?next=%2Ffs%2Fclosed%2F%3Fsort%3Dsize%26x%3D%2F%2Fevil"
    assert refused(world.page, asked("/fs/closed/")) == 401
    assert refused(world.page, asked("/fs/closed/", method="PROPFIND", Accept="text/html")) == 401
    wrong = asked("/fs/closed/", Accept="text/html", Authorization=basic("ada", "wrong"))
    assert refused(world.page, wrong) == 401


def test_of_the_api_strangers_may_read_where_something_is_open_and_change_nothing(world: World) -> None:
    assert world.gate.admit_api(asked("/api/v1/datasets")) == ANONYMOUS
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        with pytest.raises(Stopped):
            world.gate.admit_api(asked("/api/v1/tokens", method=method))
    assert world.gate.admit_api(asked("/api/v1/tokens", method="POST", Cookie="s=ada")) == user("ada")


def test_a_path_leads_into_one_dataset() -> None:
    assert dataset_of(()) is None
    assert dataset_of((b"maps", b"1.0.0", b"x")) == "maps"
    assert dataset_of((b"@geo",)) is None
    assert dataset_of((b"@geo", b"x")) == dataset_of((b"@geo/x",)) == "@geo/x"
    assert dataset_of((b"\xff",)) == "\\xff"


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_user_and_password_are_taken_in_the_charsets_that_clients_send(charset: str) -> None:
    what = claimed("Basic " + base64.b64encode("zo\u00eb:p\u00e4ss:w\u00f6rd".encode(charset)).decode())
    assert (what.user, what.secret) == ("zo\u00eb", "p\u00e4ss:w\u00f6rd".encode())


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: "Basic " + base64.b64encode(raw).decode()))
def test_any_authorization_is_claimed_or_refused(text: str) -> None:
    try:
        what = claimed(text)
    except BadCredentials:
        return
    assert what.way in ("password", "token", "provider")
    assert str(what) == (f"user:{what.user}" if what.way == "password" else what.way)
