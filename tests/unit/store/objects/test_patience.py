"""What is said of calls that take long."""

import threading
from collections.abc import Callable, Iterator

import pytest

from store.errors import ObjectMissing
from store.objects.base import Buffer, ObjectInfo
from store.objects.memory import MemoryStore
from store.objects.patience import Patient

LONG_S = 30.0


class Slow(MemoryStore):
    """Runs `meanwhile` in the middle of reads, writes and listings."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        self.meanwhile()
        return super().get(key, offset=offset, size=size)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        self.meanwhile()
        return super().put_if(key, data, match=match)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(prefix, after=after):
            self.meanwhile()
            yield info


class Bench:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.said: list[str] = []
        self.slow = Slow()
        self.slow.put("a", b"1")
        self.patient = Patient(self.slow, self.said.append, long_s=LONG_S, clock=lambda: self.now_s)

    def wait(self, *pauses_s: float) -> None:
        """Let time pass within each call, and look after each pause as the thread would."""

        def meanwhile() -> None:
            for pause_s in pauses_s:
                self.now_s += pause_s
                self.patient.tell()

        self.slow.meanwhile = meanwhile


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.patient.close()


def test_a_call_that_takes_long_is_told_of_again_and_again_with_what_it_waits_for(bench: Bench) -> None:
    bench.wait(29, 1, 29, 1)
    assert bench.patient.get("a") == b"1"
    assert bench.said == [
        "still reading 'a' after 30 s: no whole answer from store memory: yet",
        "still reading 'a' after 60 s: no whole answer from store memory: yet",
    ]


def test_a_conditional_write_is_told_of_too(bench: Bench) -> None:
    bench.wait(31)
    bench.patient.put_if("b", b"2", match=None)
    assert bench.said == ["still writing 'b' after 31 s: no whole answer from store memory: yet"]


def test_of_a_quick_call_nothing_is_said_nor_of_one_that_has_ended(bench: Bench) -> None:
    bench.wait(29)
    bench.patient.get("a")
    with pytest.raises(ObjectMissing):
        bench.patient.get("none")
    bench.now_s += 100
    bench.patient.tell()
    assert bench.said == []


def test_what_a_caller_does_between_two_objects_of_a_listing_does_not_count(bench: Bench) -> None:
    for _ in bench.patient.list(""):
        bench.now_s += 100
        bench.patient.tell()
    assert bench.said == []
    bench.wait(100)
    assert [info.key for info in bench.patient.list("")] == ["a"]
    assert bench.said == ["still listing '' after 100 s: no whole answer from store memory: yet"]


def test_the_next_look_is_when_the_oldest_call_becomes_long(bench: Bench) -> None:
    waits: list[float] = []

    def meanwhile() -> None:
        bench.now_s += 12
        waits.append(bench.patient.tell())

    bench.slow.meanwhile = meanwhile
    bench.patient.get("a")
    assert waits == [18]
    assert bench.patient.tell() == LONG_S


def test_a_thread_looks_by_itself() -> None:
    slow, said = Slow(), threading.Event()
    slow.put("a", b"1")
    patient = Patient(slow, lambda text: said.set(), long_s=0.01)
    slow.meanwhile = lambda: said.wait(30)
    assert patient.get("a") == b"1"
    assert said.is_set()
    patient.close()
