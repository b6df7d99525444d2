"""Threads that find out who calls: nobody gets those of all others, and none is lost."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from auth.errors import Throttled
from gateway.rpc import doors
from gateway.rpc.doors import Doors

PATIENCE_S = 30.0
ONE, OTHER, NEIGHBOUR = "192.0.2.1", "2001:db8::1", "2001:db8::2"  # the last two are of one network


class Asked:
    """Questions that are answered once they may be."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.going = threading.Event()

    def of(self, whose: str) -> Callable[[], str]:
        def ask() -> str:
            self.begun.append(whose)
            assert self.going.wait(PATIENCE_S)
            return whose

        return ask


async def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.005)


def test_one_address_leaves_threads_to_others_and_waits_for_its_own() -> None:
    async def main() -> None:
        within, asked = Doors(8), Asked()
        calls = [asyncio.ensure_future(within.through(ONE, asked.of(ONE))) for _ in range(40)]
        await until(lambda: asked.begun.count(ONE) == 4)
        calls += [asyncio.ensure_future(within.through(OTHER, asked.of(OTHER))) for _ in range(40)]
        calls += [asyncio.ensure_future(within.through(NEIGHBOUR, asked.of(NEIGHBOUR))) for _ in range(40)]
        await until(lambda: len(asked.begun) == 6)
        calls.append(asyncio.ensure_future(within.through("", asked.of(""))))
        await until(lambda: "" in asked.begun)
        assert len(asked.begun) == 7
        asked.going.set()
        assert await asyncio.gather(*calls) == [ONE] * 40 + [OTHER] * 40 + [NEIGHBOUR] * 40 + [""]
        await until(lambda: not within._within)
        within.close()

    asyncio.run(main())


def test_a_call_that_is_given_up_holds_its_thread_to_the_end_and_no_longer() -> None:
    async def main() -> None:
        within, asked = Doors(1), Asked()
        first = asyncio.ensure_future(within.through(ONE, asked.of(ONE)))
        await until(lambda: asked.begun == [ONE])
        waiting = asyncio.ensure_future(within.through(ONE, asked.of("never")))
        second = asyncio.ensure_future(within.through(OTHER, asked.of(OTHER)))
        await asyncio.sleep(0.02)
        first.cancel()
        waiting.cancel()
        await asyncio.sleep(0.02)
        assert within._within.total() == 1
        asked.going.set()
        assert await second == OTHER
        assert asked.begun == [ONE, OTHER]
        within.close()

    asyncio.run(main())


def test_who_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        within, asked = Doors(1), Asked()
        first = asyncio.ensure_future(within.through(ONE, asked.of(ONE)))
        await until(lambda: asked.begun == [ONE])
        monkeypatch.setattr(doors, "DOOR_S", 0.05)
        with pytest.raises(Throttled) as refused:
            await within.through(OTHER, asked.of(OTHER))
        assert refused.value.retry_after_s > 0
        asked.going.set()
        assert await first == ONE
        await until(lambda: not within._within)
        assert await within.through(OTHER, asked.of(OTHER)) == OTHER
        within.close()

    asyncio.run(main())
