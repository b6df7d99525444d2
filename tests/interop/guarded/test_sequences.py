"""Clients that ask without a login first: Finder, Explorer, davfs2 and others, each request of theirs as on record.

Every one gets a 401 that says that this is WebDAV, for Finder looks for that before it logs in; and with the login that
it then sends, the answer that it gets from an open gateway.
"""

from pathlib import Path

import pytest

from tests.interop.guarded.gateway import ADA, Guarded, basic, bearer, drained
from tests.support.exchanges import Recorded, read
from tests.support.relay import fields

HERE = Path(__file__).parents[2] / "wire" / "dav"
CLIENTS = ["cadaver", "davfs2", "explorer", "finder", "gvfs", "rclone"]


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def sent(guarded: Guarded, exchange: Recorded, login: dict[str, str]) -> bytes:
    """Send a recorded request, with a login or without."""
    line, rest = exchange.request.split(b"\r\n", 1)
    more = b"".join(f"{name}: {value}\r\n".encode() for name, value in login.items())
    return guarded.say(line + b"\r\n" + more + rest)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_asked_to_log_in_and_told_that_it_is_webdav(guarded: Guarded, client: str) -> None:
    _, exchanges = read(HERE / f"{client}.txt")
    assert len(exchanges) > 2
    for exchange in exchanges:
        answer = sent(guarded, exchange, {})
        head = answer.partition(b"\r\n\r\n")[0]
        assert status_of(answer) == 401, exchange.request
        assert fields(head)["dav"] == "1"
        assert head.count(b"\r\nWWW-Authenticate: ") == 2
        assert b'\r\nWWW-Authenticate: Basic realm="AetherFS", charset="UTF-8"' in head


@pytest.mark.parametrize("way", ["password", "token as password", "bearer"])
@pytest.mark.parametrize("client", CLIENTS)
def test_with_its_login_a_client_gets_what_is_on_record(guarded: Guarded, client: str, way: str) -> None:
    token = guarded.tokens["all"]
    login = {"password": basic("ada", ADA), "token as password": basic("x", token), "bearer": bearer(token)}[way]
    _, exchanges = read(HERE / f"{client}.txt")
    got = [status_of(sent(guarded, exchange, login)) for exchange in exchanges]
    assert got == [status_of(exchange.answer) for exchange in exchanges]


def test_davfs2_is_asked_on_its_very_first_request_and_goes_on_on_that_connection(guarded: Guarded) -> None:
    _, exchanges = read(HERE / "davfs2.txt")
    first = exchanges[0].request
    assert first.startswith(b"OPTIONS /webdav/geo/1.0.0/ ")
    again = first.replace(b"\r\n", b"\r\nAuthorization: " + basic("ada", ADA)["Authorization"].encode() + b"\r\n", 1)
    with guarded.connect() as sock:
        sock.sendall(first)
        told = b""
        while not told.endswith(b"as Bearer\n"):
            told += sock.recv(4096)
        assert status_of(told) == 401
        assert b"Connection: close" not in told
        sock.sendall(again)
        sock.shutdown(1)
        answer = drained(sock)
    assert status_of(answer) == 200
    assert fields(answer)["dav"] == "1"
