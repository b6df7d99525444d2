"""Calls whose clients do not go on are let go: those who send no request, and those who take no answer.

gRPC counts a call from its first bytes to its last, and waits for both without end: a few clients that stand still
would hold every place there is, and what gRPC buffers for them. A timer cancels the task that a call runs in, and the
one above it, in which gRPC waits for the call's end: only then is its place free. (That task has a name, by which it is
known here; in a version of gRPC where it has another, such calls hold theirs as long as their connections last.)

Threads: the loop of the server.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from grpc import aio

from gateway.rpc.limits import BEGIN_S, END_S

_ABOVE: Final = "rpc_task"
_above: WeakKeyDictionary[asyncio.Task[Any], asyncio.Task[Any]] = WeakKeyDictionary()
_timer: ContextVar[asyncio.TimerHandle | None] = ContextVar("timer", default=None)


class Patience(aio.ServerInterceptor):  # type: ignore[type-arg]  # of messages of any kind
    """Has each call begin in time."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Let a call through, whose request has not come yet."""
        _cancel_in(BEGIN_S)
        return await continuation(handler_call_details)


def know_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop know which task gRPC began another one in."""

    def made(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **more)
        above = asyncio.current_task(loop)
        if above is not None and above.get_name() == _ABOVE:
            _above[task] = above
        return task

    loop.set_task_factory(made)  # type: ignore[arg-type]  # coroutines alone come


def begun() -> None:
    """Say that the request of this task's call is there: from now on it may take its time."""
    timer = _timer.get()
    if timer is not None:
        timer.cancel()


def ending() -> None:
    """Say that all is done but for the client to take what is left."""
    _cancel_in(END_S)


def _cancel_in(seconds: float) -> None:
    task = asyncio.current_task()
    if task is None:  # pragma: no cover
        return
    begun()
    timer = asyncio.get_running_loop().call_later(seconds, _let_go, task)
    task.add_done_callback(lambda _task: timer.cancel())
    _timer.set(timer)


def _let_go(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    above = _above.get(task)
    if above is not None:
        above.cancel()
