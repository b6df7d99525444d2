"""By way of a trusted proxy: whose address stands in logs and is slowed down, and what nobody can make of it."""

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.interop.guarded.gateway import ADA, PROXIES, Answer, Guarded, basic
from tests.support.until import wait_until

TARGET = "/fs/maps/1.0.0/a.txt"
PROXY, FRONT = PROXIES
_hosts = itertools.count(1)


def fresh() -> str:
    """Return the address of a client that nobody came from yet."""
    return f"203.0.113.{next(_hosts)}"


def ask(guarded: Guarded, fields: dict[str, str], source: str = PROXY) -> Answer:
    return guarded.ask("GET", TARGET, fields, source=source)


def noted(guarded: Guarded, agent: str) -> list[str]:
    """Return the addresses of the access log's lines of a client, once there are any."""
    found: list[str] = []

    def there() -> bool:
        lines = [json.loads(line) for line in guarded.access.read_text().splitlines()]
        found[:] = [line["address"] for line in lines if line["agent"] == agent]
        return bool(found)

    wait_until(there)
    return found


def audited(guarded: Guarded, event: str, address: str) -> list[str]:
    lines = [json.loads(line) for line in guarded.audit.read_text().splitlines()]
    return [line["outcome"] for line in lines if (line["event"], line["address"]) == (event, address)]


@pytest.mark.parametrize("times", [1, 3])  # the first answer is a thread's, later ones are from memory
def test_logs_name_the_client_that_a_trusted_proxy_asks_for(guarded: Guarded, times: int) -> None:
    client, agent = fresh(), f"by-proxy-{times}"
    fields = {"X-Forwarded-For": f"127.0.0.1, {client}", "User-Agent": agent, **basic("ada", ADA)}
    for _ in range(times):
        assert ask(guarded, fields).status == 200
    assert set(noted(guarded, agent)) == {client}
    assert audited(guarded, "login", client)
    assert len(audited(guarded, "read", client)) == times


def test_nobody_else_is_believed(guarded: Guarded) -> None:
    client, agent = fresh(), "by-no-proxy"
    assert ask(guarded, {"X-Forwarded-For": client, "User-Agent": agent}, source="127.0.13.1").status == 401
    assert noted(guarded, agent) == ["127.0.13.1"]
    assert not audited(guarded, "denial", client)


def test_wrong_passwords_slow_down_their_client_and_no_other_behind_the_proxy(guarded: Guarded) -> None:
    client, other = fresh(), fresh()

    def tried(address: str, made_up: str = "") -> int:
        return ask(guarded, {"X-Forwarded-For": f"{made_up}{address}", **basic("bob", "a wrong one" + made_up)}).status

    wait_until(lambda: tried(client, f"192.0.2.{next(_hosts)}, ") == 429)  # whatever it says to be
    assert tried(other) == 401
    assert ask(guarded, basic("bob", "a wrong one"), source=PROXY).status == 401  # the proxy itself


def raw_requests(client: str) -> Iterator[tuple[str, str, str]]:
    """Yield fields as they are sent, the agent in them, and the client that they come to."""
    yield f"X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: {client}\r\n", "two-lines", client
    yield f"X-Forwarded-For: 192.0.2.9, {client}\r\nX-Forwarded-For: {FRONT}\r\n", "two-proxies", client
    yield f"x-forwarded-for:{client}\r\nX_Forwarded_For: 192.0.2.9\r\n", "underscores", client
    yield f"X_Forwarded_For: {client}\r\n", "underscores-alone", PROXY
    yield f"X-Forwarded-For: {client}, nonsense\r\n", "nonsense", PROXY


@pytest.mark.parametrize("number", range(5))
def test_the_field_is_read_from_its_end_however_it_is_written(guarded: Guarded, number: int) -> None:
    fields, agent, client = list(raw_requests(fresh()))[number]
    head = f"GET {TARGET} HTTP/1.1\r\nHost: {guarded.netloc}\r\nUser-Agent: {agent}\r\n{fields}\r\n"
    assert guarded.say(head.encode(), PROXY).startswith(b"HTTP/1.1 401")
    assert noted(guarded, agent) == [client]
