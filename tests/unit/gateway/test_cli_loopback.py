"""The port that a browser is sent back to: only the right answer ends the wait."""

import http.client
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from gateway.access.oauth import Metadata, ProviderRefused, read_code
from gateway.cli.loopback import Loopback

PROVIDER = Metadata("https://login.example.org", "", "", "")


class Waiting:
    """A command that waits for the browser."""

    def __init__(self) -> None:
        self.found: list[object] = []
        self.back = Loopback()
        self.netloc = urlsplit(self.back.redirect).netloc
        self.thread = threading.Thread(target=self.wait)
        self.thread.start()

    def wait(self) -> None:
        with self.back as back:
            self.found.append(back.wait(lambda query: read_code(query, PROVIDER, "state-1"), 20))

    def get(self, target: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        connection.request("GET", target)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    found = Waiting()
    yield found
    if found.thread.is_alive():
        found.get("/callback?state=state-1&code=end")
    found.thread.join(60)
    assert not found.thread.is_alive()


def test_the_right_answer_ends_the_wait_with_its_code(waiting: Waiting) -> None:
    status, text = waiting.get("/callback?code=c-1&state=state-1")
    waiting.thread.join(60)
    assert status == 200
    assert "close this window" in text
    assert "c-1" not in text
    assert waiting.found == ["c-1"]


@pytest.mark.parametrize(
    "target",
    ["/", "/favicon.ico", "/callback", "/callback?", "/callback?code=x", "/callback?code=x&state=",
     "/callback?code=x&state=y", "/callback?state=state-1", "/callback?code=x&state=state-1&state=state-1",
     "/callback?code=x&state=state-1&iss=https://evil",
     "/callback?" + "&".join(["a=b"] * 30), "/callback?x=" + "a" * 9000],
)  # fmt: skip
def test_other_answers_do_not(waiting: Waiting, target: str) -> None:
    assert waiting.get(target)[0] in (400, 404)
    assert waiting.found == []
    assert waiting.get("/callback?code=right&state=state-1")[0] == 200
    waiting.thread.join(60)
    assert waiting.found == ["right"]


def test_a_refusal_of_the_provider_ends_it_too(waiting: Waiting) -> None:
    status, _ = waiting.get("/callback?error=access_denied&error_description=no%0Athanks&state=state-1")
    waiting.thread.join(60)
    assert status == 200
    (found,) = waiting.found
    assert isinstance(found, ProviderRefused)
    assert str(found) == "the provider says access_denied: no thanks"


def test_connections_that_say_nothing_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.loopback._Handler.timeout", 600)
    waiting = Waiting()
    host, port = waiting.netloc.split(":")
    with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as cut:
        silent.sendall(b"GET /call")  # as browsers open connections ahead of what they ask
        cut.close()
        assert waiting.get("/callback?code=right&state=state-1")[0] == 200
        waiting.thread.join(60)
        assert waiting.found == ["right"]


def test_nobody_comes() -> None:
    with Loopback() as back:
        assert back.wait(lambda query: query, 0.2) is None
