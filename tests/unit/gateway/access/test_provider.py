"""What a gateway knows of a provider, when it asks, and what becomes of tokens while it does not answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from urllib3.connection import HTTPConnection

from auth.errors import BadCredentials, Undecided
from auth.oidc import Rules
from gateway.access import provider as limits
from gateway.access.deadlines import Question
from gateway.access.fetch import LARGEST, Fetch, FetchFailed, check_url
from gateway.access.oauth import Client, Proof, ProviderRefused, authorization_url, redeem
from gateway.access.provider import OidcTokens, Provider
from tests.support.issuer import Issuer, issuer
from tests.support.jwts import CLIENT, claims, rsa, sign

ONE, TWO = rsa("one"), rsa("two")


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def running() -> Iterator[Issuer]:
    with issuer(ONE) as found:
        yield found


class Bench:
    """A provider, its tokens, and the two clocks."""

    def __init__(self, running: Issuer) -> None:
        self.running, self.clock = running, Clock()
        self.start_s = time.time()
        fetch = Fetch(read_s=1, whole_s=2)
        self.provider = Provider(running.url, fetch, clock=self.clock)
        self.tokens = OidcTokens(self.provider, Rules(running.url, CLIENT), now=self.now)

    def now(self) -> float:
        return self.start_s + self.clock.s - 1000

    def token(self, key: Any = ONE, **changed: Any) -> str:
        return sign(key, claims(self.now(), iss=self.running.url, **changed))


@pytest.fixture
def bench(running: Issuer) -> Bench:
    return Bench(running)


def test_nothing_is_asked_before_a_token_comes(bench: Bench) -> None:
    assert bench.running.asked == []
    assert bench.tokens.check(bench.token()).name == "ada"
    assert bench.running.asked == ["/.well-known/openid-configuration", "/keys"]


def test_a_checked_token_is_remembered_until_it_ends(bench: Bench) -> None:
    text = bench.token(exp=int(bench.now()) + 100)
    assert bench.tokens.known(text) is None
    found = bench.tokens.check(text)
    assert bench.tokens.known(text) == found
    assert bench.tokens.known(text + "x") is None
    bench.clock.s += 101
    assert bench.tokens.known(text) is None


def test_a_remembered_token_is_checked_again_after_a_while(bench: Bench) -> None:
    text = bench.token(exp=int(bench.now()) + 10_000)
    bench.tokens.check(text)
    bench.clock.s += limits.REMEMBERED_S
    assert bench.tokens.known(text) is None
    assert bench.tokens.check(text).name == "ada"


def test_tokens_that_are_refused_anyway_ask_no_provider(bench: Bench) -> None:
    for text in ("", "a.b.c", bench.token(aud="other"), bench.token(exp=1), sign(ONE, claims(iss="https://x"))):
        with pytest.raises(BadCredentials):
            bench.tokens.check(text)
    assert bench.running.asked == []


def test_a_new_key_is_found_at_once_and_the_old_one_given_up(bench: Bench) -> None:
    bench.tokens.check(bench.token())
    bench.running.keys = (TWO,)
    bench.clock.s += limits.FIRST_PAUSE_S
    assert bench.tokens.check(bench.token(TWO)).name == "ada"
    with pytest.raises(BadCredentials):
        bench.tokens.check(bench.token(jti="another"))


def test_a_new_key_with_the_name_of_the_old_one_is_found_at_once(bench: Bench) -> None:
    bench.tokens.check(bench.token())
    again = rsa("one")
    bench.running.keys = (again,)
    bench.clock.s += limits.FIRST_PAUSE_S
    assert bench.tokens.check(bench.token(again)).name == "ada"
    asked = bench.running.fetched
    for number in range(20):  # and what nobody has signed has it asked for no more than a made-up key
        with pytest.raises(BadCredentials):
            bench.tokens.check(bench.token(TWO, kid="one", jti=str(number)))
    assert bench.running.fetched == asked


def test_a_key_that_was_given_up_is_good_for_minutes_at_most(bench: Bench) -> None:
    text = bench.token(exp=int(bench.now()) + 100_000)
    bench.tokens.check(text)
    bench.running.keys = (TWO,)
    bench.clock.s += limits.FRESH_S - 1
    assert bench.tokens.check(bench.token(jti="2")).name == "ada"
    bench.clock.s += 1 + limits.REMEMBERED_S
    assert bench.tokens.known(text) is None
    with pytest.raises(BadCredentials):
        bench.tokens.check(text)


def test_a_flood_of_made_up_keys_asks_the_provider_once_a_minute(bench: Bench) -> None:
    bench.tokens.check(bench.token())
    told = claims(bench.now(), iss=bench.running.url, exp=int(bench.now()) + 1000)
    texts = [sign(TWO, told, kid=f"made-up-{n}") for n in range(50)]
    before = bench.running.fetched
    for second in range(600):
        bench.clock.s += 1
        with pytest.raises(BadCredentials):
            bench.tokens.check(texts[second % 50])
    asked = bench.running.fetched - before
    assert 10 <= asked <= 16, asked
    bench.running.keys = (ONE, TWO)
    bench.clock.s += limits.PAUSE_S
    assert bench.tokens.check(bench.token(TWO)).name == "ada"  # and a real new key is found still


def test_while_the_provider_is_away_its_keys_go_on_for_a_bounded_time(bench: Bench) -> None:
    bench.tokens.check(bench.token())
    bench.running.status = 503
    for _ in range(10):
        bench.clock.s += limits.STALE_S / 11
        assert bench.tokens.check(bench.token()).name == "ada"
    bench.clock.s += limits.STALE_S / 11 + 1
    with pytest.raises(Undecided, match="503"):
        bench.tokens.check(bench.token())
    bench.running.status = 200
    bench.clock.s += limits.PAUSE_S
    assert bench.tokens.check(bench.token()).name == "ada"


def test_a_provider_that_never_answered_decides_nothing_and_is_not_hammered(bench: Bench) -> None:
    bench.running.status = 500
    for _ in range(20):
        with pytest.raises(Undecided):
            bench.tokens.check(bench.token())
    assert len(bench.running.asked) == 1


def test_many_who_wait_for_a_slow_provider_are_answered_by_one_question_or_told_to_come_again(bench: Bench) -> None:
    bench.running.wait_s = 0.5
    text, said = bench.token(), []

    def ask() -> None:
        try:
            said.append(bench.tokens.check(text).name)
        except Undecided:
            said.append("later")

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert bench.running.fetched == 1
    assert said.count("ada") == limits.WAITING + 1
    assert said.count("later") == 30 - limits.WAITING - 1


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://example.org/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user@example.org/"},
        {"jwks_uri": 7},
    ],
    ids=str,
)
def test_a_configuration_that_is_not_this_provider_is_refused(bench: Bench, changed: dict[str, Any]) -> None:
    bench.running.changed = changed
    with pytest.raises(Undecided):
        bench.tokens.check(bench.token())


def test_a_provider_that_only_signs_has_no_more_than_keys(bench: Bench) -> None:
    places = ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint")
    for odd in (None, 7, "javascript:alert(1)", "http://example.org/", "urn:kubernetes:programmatic_authorization"):
        bench.running.changed = dict.fromkeys(places, odd)
        bench.clock.s += limits.FRESH_S
        assert bench.tokens.check(bench.token(jti=str(odd))).name == "ada"
        found = bench.provider.metadata()
        assert (found.authorization, found.token, found.device, found.revocation) == ("", "", "", "")
        with pytest.raises(ProviderRefused, match="no login by browsers"):
            authorization_url(found, CLIENT, "http://127.0.0.1/", "openid", Proof.fresh())
        with pytest.raises(ProviderRefused, match="gives no tokens"):
            redeem(bench.provider.fetch, found, Client(CLIENT), "c", "http://127.0.0.1/", "v")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": []}', b"x" * (LARGEST + 1)], ids=len)
def test_keys_that_are_none_are_refused(bench: Bench, body: bytes) -> None:
    bench.running.body = body
    with pytest.raises(Undecided):
        bench.tokens.check(bench.token())


def test_no_redirect_is_followed(bench: Bench) -> None:
    bench.running.status = 302
    with pytest.raises(Undecided, match="302"):
        bench.tokens.check(bench.token())
    assert bench.running.asked == ["/.well-known/openid-configuration"]


def test_an_answer_that_does_not_come_is_given_up(bench: Bench) -> None:
    bench.running.wait_s = 1.5
    with pytest.raises(Undecided, match="does not answer"):
        bench.tokens.check(bench.token())


HELD = b"\x16\x03\x03\x40\x00"  # a record of TLS of 16 KiB, of which the rest does not come


@pytest.mark.parametrize(
    ("scheme", "begins"),
    [("http", b"HTTP/1.1 200 OK\r\nX: "), ("http", b"HTTP/1.1 200 OK\r\n\r\n"), ("https", HELD)],
    ids=["header", "body", "handshake"],
)
def test_an_answer_that_comes_byte_by_byte_is_given_up(scheme: str, begins: bytes) -> None:
    ended = threading.Event()

    def answer() -> None:
        sock, _ = server.accept()
        with sock, contextlib.suppress(OSError):
            sock.recv(4096)
            sock.sendall(begins)
            while not ended.wait(0.1):
                sock.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(FetchFailed, match="takes longer than"):
                Fetch(read_s=60, whole_s=1).get(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/")
        finally:
            ended.set()
            thread.join()


def test_a_question_that_was_answered_leaves_its_connection_to_the_next(bench: Bench) -> None:
    fetch = Fetch(read_s=60, whole_s=1)
    for _ in range(2):
        assert fetch.get(f"{bench.running.url}/keys").status == 200
    question = Question()
    question.asks(HTTPConnection("127.0.0.1"))
    question.end()
    question.break_off()
    assert not question.cut


def test_nobody_listens_and_the_reason_names_no_secret() -> None:
    with pytest.raises(FetchFailed) as caught:
        Fetch(read_s=1, whole_s=2).get("http://127.0.0.1:1/callback?code=hidden")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://login.example.org/x", "http://localhost:1/x", "http://127.0.0.1", "http://[::1]:9/"]
)
def test_urls_that_may_be_asked(url: str) -> None:
    assert check_url(url, "it") == url


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://example.org", "http://127.0.0.1.example.org/", "ftp://localhost", "https://", "https://a b/",
     "https://a\n/", "https://a@b/", "https://a\\b/", "https://[::1", "https://a:99999/", "https://é.org/", "https://a/#x"],
)  # fmt: skip
def test_urls_that_may_not_be_asked(url: str) -> None:
    with pytest.raises(FetchFailed):
        check_url(url, "it")


def test_a_proxy_of_the_environment_is_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", bench.running.url)
    monkeypatch.setenv("no_proxy", "")
    Fetch().get("http://localhost:9/through")
    assert bench.running.asked == ["http://localhost:9/through"]
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(FetchFailed):
        Fetch().get("http://localhost:9/through")
