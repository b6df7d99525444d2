"""Answers without a thread: when they are given, for how long, and what is left to a thread."""

import pytest

from dav.fast import KEPT_S, Answer, FastLane, Peer
from gateway.web.app import make_fast_lane
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
