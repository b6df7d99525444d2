"""Answers without a thread: when they are given, for how long, and what is left to a thread."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dav.fast import ASKER_S, KEPT_S, Answer, FastLane, Peer
from dav.files import PIECE
from dav.reply import CERTIFICATE, Buffer, Environ, StartResponse, send, text_reply
from dav.warm import WarmTree
from gateway.web.app import make_fast_lane, make_wsgi_app
from store.errors import StaleNode
from store.vfs.tree import Node
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.trees import MemoryTree

HOST = b" HTTP/1.1\r\nHost: x"
PROPFIND = b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>'


class Clock:
    """Seconds that pass when a test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A lane over a tree, and how to ask it."""

    def __init__(self) -> None:
        self.tree, self.clock = MemoryTree(), Clock()
        self.tree.publish("geo", "1.0.0", SAMPLE)
        self.tree.publish("geo", "latest", SAMPLE)
        self.lane: FastLane = make_fast_lane(self.tree)
        self.lane._clock = self.clock

    def ask(self, head: bytes, body: bytes = b"") -> Answer | None:
        request = self.lane.read(head)
        return None if request is None else self.lane.answer(request, body, Peer("192.0.2.1"))


@pytest.fixture
def world() -> World:
    return World()


def content(answer: Answer | None) -> bytes:
    assert answer is not None
    return b"".join(answer.first) + (b"".join(answer.rest) if answer.rest is not None else b"")


def test_a_file_in_memory_is_answered_and_its_ranges(world: World) -> None:
    for _ in range(2):
        whole = world.ask(b"GET /fs/geo/1.0.0/big.bin" + HOST)
        assert content(whole) == BIG
        assert whole is not None
        assert whole.size == len(BIG)
        for first, last in ((5, 10), (0, 0), (len(BIG) - 1, len(BIG) + 5)):
            part = world.ask(b"GET /fs/geo/1.0.0/big.bin%s\r\nRange: bytes=%d-%d" % (HOST, first, last))
            assert content(part) == BIG[first : last + 1]
            assert part is not None
            assert part.status == 206
        bare = world.ask(b"HEAD /fs/geo/1.0.0/big.bin" + HOST)
        assert bare is not None
        assert (bare.head, bare.first, bare.rest) == (whole.head, (), None)


def test_what_is_not_in_memory_is_left_to_a_thread(world: World) -> None:
    assert content(world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST)) == b"hello\n"
    world.tree.cold = True
    assert world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST) is None
    assert world.ask(b"GET /fs/geo/1.0.0/other" + HOST) is None
    assert world.ask(b"PROPFIND /webdav/geo/1.0.0/a.txt" + HOST + b"\r\nDepth: 0") is None


@pytest.mark.parametrize(
    "head",
    [
        b"GET /fs/" + b"%61/" * 300 + HOST,
        b"GET /fs/" + b"%61" * 6000 + HOST,
        b"GET /fs/geo/1.0.0/a.txt" + HOST + b"\r\nIf-None-Match: " + b'"a",' * 5000,
    ],
)
def test_what_takes_long_to_read_is_left_to_a_thread(world: World, head: bytes) -> None:
    assert world.lane.read(head) is None
    assert world.lane.read(b"GET /fs/geo/1.0.0/" + b"%61" * 4096 + HOST) is not None


def test_what_was_removed_is_gone_soon(world: World) -> None:
    head = b"GET /fs/geo/1.0.0/a.txt" + HOST
    assert content(world.ask(head)) == b"hello\n"
    world.tree.publish("geo", "1.0.0", {b"b": b""})  # as if it were another dataset of that name
    world.clock.now_s += KEPT_S + 1
    gone = world.ask(head)
    assert gone is not None
    assert gone.status == 404


def test_what_a_channel_shows_is_asked_for_each_time(world: World) -> None:
    head = b"GET /fs/geo/latest/a.txt" + HOST
    assert content(world.ask(head)) == b"hello\n"
    world.tree.publish("geo", "latest", {b"a.txt": b"moved"})
    assert content(world.ask(head)) == b"moved"


def test_a_listing_is_left_to_a_thread_and_given_again_for_a_while(world: World) -> None:
    head = b"PROPFIND /webdav/geo/1.0.0/" + HOST + b"\r\nDepth: 1\r\nContent-Length: %d" % len(PROPFIND)
    request = world.lane.read(head)
    assert request is not None
    assert world.lane.answer(request, PROPFIND, Peer("192.0.2.1")) is None
    world.lane.remember(request, PROPFIND, 207, b"HTTP/1.1 207 Multi-Status\r\n", b"<listing/>", Peer("192.0.2.1"))
    assert content(world.lane.answer(request, PROPFIND, Peer("192.0.2.1"))) == b"<listing/>"
    assert world.lane.answer(request, PROPFIND.replace(b"getetag", b"owner99"), Peer("192.0.2.1")) is None
    world.clock.now_s += KEPT_S + 1
    assert world.lane.answer(request, PROPFIND, Peer("192.0.2.1")) is None


def test_conditions_reach_the_application(world: World) -> None:
    first = world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST)
    assert first is not None
    etag = next(line for line in first.head.split(b"\r\n") if line.startswith(b"ETag: ")).removeprefix(b"ETag: ")
    same = world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST + b"\r\nIf-None-Match: " + etag)
    assert same is not None
    assert (same.status, same.size) == (304, 0)


class Hiding(MemoryTree):
    """A tree whose files may be read until a test hides them."""

    hidden = False

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        if self.hidden:
            raise StaleNode("its dataset")
        return super().read(file, offset, size)

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        if self.hidden:
            raise StaleNode("its dataset")
        return super().read_warm(file, offset, size)


class Asked:
    """A lane in which one user may read and others may not, and nobody is known without a field that says who."""

    def __init__(self) -> None:
        self.tree, self.clock, self.identified = Hiding(), Clock(), 0
        self.tree.publish("geo", "1.0.0", SAMPLE)
        shown = make_wsgi_app(WarmTree(self.tree), prompt=True)

        def app(environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
            if self.identify(environ) == "ada":
                return shown(environ, start_response)
            return send(text_reply(404, "nothing"), environ, start_response)

        self.lane = FastLane(app, identify=self.identify, clock=self.clock)

    def identify(self, environ: Mapping[str, Any]) -> str | None:
        self.identified += 1
        certificate: bytes = environ.get(CERTIFICATE, b"")
        return certificate.decode() or environ.get("HTTP_AUTHORIZATION")

    def ask(self, who: bytes, peer: Peer, *more: bytes) -> Answer | None:
        fields = [b"Authorization: " + who] if who else []
        head = b"\r\n".join([b"GET /fs/geo/1.0.0/a.txt" + HOST, *fields, *more])
        known = self.lane.known(head + b"\r\n\r\n", peer)
        if known is not None:
            return known.answer
        request = self.lane.read(head)
        assert request is not None
        return self.lane.answer(request, b"", peer)


def status(answer: Answer | None) -> int:
    assert answer is not None
    return answer.status


def test_what_one_was_answered_reaches_nobody_else() -> None:
    here, world = Peer("192.0.2.1"), Asked()
    for _ in range(3):
        assert content(world.ask(b"ada", here)) == b"hello\n"
        assert status(world.ask(b"ada", here, b"Range: bytes=1-2")) == 206
        for who in (b"bob", b"ada2", b"Ada"):
            assert status(world.ask(who, here)) == 404
            assert status(world.ask(who, here, b"Range: bytes=1-2")) == 404
        assert world.ask(b"", here) is None  # who that is, a thread has to say
        world.clock.now_s += 0.4


@pytest.mark.parametrize("times", [1, 2])  # by the application, and by what is remembered of the file
def test_what_one_may_read_no_more_ends_in_the_middle(times: int) -> None:
    here, world = Peer("192.0.2.1"), Asked()
    world.tree.publish("geo", "2.0.0", {b"large": bytes(3 * PIECE)})
    request = world.lane.read(b"GET /fs/geo/2.0.0/large" + HOST + b"\r\nAuthorization: ada")
    assert request is not None
    answers = [world.lane.answer(request, b"", here) for _ in range(times)]
    world.tree.hidden = True
    for answer in answers:
        assert status(answer) == 200
        rest = answer.rest if answer is not None else None
        assert rest is not None
        with pytest.raises(StaleNode):
            rest.tree.read_warm(rest.file, rest.at, 1)
        with pytest.raises(StaleNode):
            rest.tree.read(rest.file, rest.at, 1)
    assert world.lane.answer(request, b"", here) is None  # a thread tells


def test_a_certificate_tells_apart_who_sends_the_same_bytes() -> None:
    world = Asked()
    for _ in range(3):
        assert content(world.ask(b"", Peer("192.0.2.1", tls=True, certificate=b"ada"))) == b"hello\n"
        assert status(world.ask(b"", Peer("192.0.2.1", tls=True, certificate=b"bob"))) == 404
        assert world.ask(b"", Peer("192.0.2.1", tls=True)) is None


def test_the_same_bytes_from_elsewhere_tell_nobody_that_a_password_is_good() -> None:
    world, elsewhere = Asked(), Peer("192.0.2.66")
    assert content(world.ask(b"ada", Peer("192.0.2.1"))) == b"hello\n"
    world.identify = lambda environ: None  # type: ignore[method-assign]  # a thread has to say, and may throttle
    world.lane._identify = world.identify
    assert world.ask(b"ada", elsewhere) is None
    assert content(world.ask(b"ada", Peer("192.0.2.1"))) == b"hello\n"


def test_what_is_known_is_answered_whoever_is_asked_first_or_a_thread_would_hand_it_back_without_end() -> None:
    here, world = Peer("192.0.2.1"), Asked()
    request = world.lane.read(b"GET /fs/geo/1.0.0/a.txt" + HOST + b"\r\nAuthorization: ada")
    assert request is not None
    for _ in range(2):
        assert content(world.lane.answer(request, b"", here)) == b"hello\n"
    world.lane._identify = lambda environ: None
    world.tree.cold = True
    world.clock.now_s += ASKER_S + 0.1
    assert world.lane.known(request.raw + b"\r\n\r\n", here) is not None  # for which a thread does nothing
    assert content(world.lane.answer(request, b"", here)) == b"hello\n"


def test_who_asks_is_asked_for_once_a_second_and_what_they_got_lasts_ten() -> None:
    here, world = Peer("192.0.2.1"), Asked()
    for number in range(50):
        assert status(world.ask(b"ada", here, b"Range: bytes=%d-3" % (number % 3))) == 206
    assert world.identified == 2  # once by the lane, and once by the application at first
    world.clock.now_s += ASKER_S + 0.1
    assert status(world.ask(b"ada", here, b"Range: bytes=3-3")) == 206
    assert world.identified == 3


def test_a_file_is_known_alike_whether_it_was_asked_for_whole_or_in_part_at_first() -> None:
    heads = []
    for first in ((), (b"Range: bytes=1-2",)):
        here, world = Peer("192.0.2.1"), Asked()
        assert world.ask(b"ada", here, *first) is not None
        identified = world.identified
        answers = [world.ask(b"ada", here), world.ask(b"ada", here, b"Range: bytes=2-3")]
        assert world.identified == identified  # the application was not asked again
        assert [status(answer) for answer in answers] == [200, 206]
        heads.append([sorted(answer.head.split(b"\r\n")) for answer in answers if answer is not None])
    assert heads[0] == heads[1]


def test_of_many_who_ask_for_a_cold_file_at_once_only_the_first_asks_the_application(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = world.lane._app

    def noted(environ: Environ, start: StartResponse) -> Iterable[Buffer]:
        asked.append(environ["REQUEST_URI"])
        return real(environ, start)

    world.lane._app = noted
    with monkeypatch.context() as patched:
        patched.setattr(world.tree, "read_warm", lambda *_: None)
        for part in range(10):
            assert world.ask(b"GET /fs/geo/1.0.0/big.bin%s\r\nRange: bytes=%d-" % (HOST, part)) is None
    assert len(asked) == 1
    # It has come: nobody is told otherwise.
    assert content(world.ask(b"GET /fs/geo/1.0.0/big.bin" + HOST)) == BIG


def test_very_many_field_lines_are_left_to_a_thread(world: World) -> None:
    lines = b"".join(b"\r\nX-%d: y" % number for number in range(100))
    assert world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST + lines) is None
    assert world.ask(b"GET /fs/geo/1.0.0/a.txt" + HOST + b"\r\nX-1: y") is not None
