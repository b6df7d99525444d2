"""`aetherfs.v1.DatasetService`: its methods as handlers of gRPC, and what becomes of errors.

Whatever asks the store, or who asks, runs on one of a fixed number of threads: the loop never waits. A call whose
client has gone, or whose deadline has passed, is cancelled by gRPC: what has not begun then never does, what has begun
ends unheard. Threads: handlers run on the loop of the server.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from grpc import aio

from gateway.operations.files import Part
from gateway.operations.rights import Caller
from gateway.rpc import messages, patience
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.callers import Callers, address_of
from gateway.rpc.codes import Answer, answer_of
from gateway.rpc.doors import Doors
from gateway.rpc.limits import DOORS, READS, STALLED_S, THREADS
from gateway.rpc.methods import METHODS, Context, Method
from gateway.rpc.reading import pieces
from store.errors import NotWarm
from store.vfs.tree import FileTree

NAME: Final = pb.DESCRIPTOR.services_by_name["DatasetService"].full_name
READ_FILE: Final = "ReadFile"

T = TypeVar("T")


class Stalled(Exception):
    """A client takes no more of what it asked for."""


class Gone(Exception):
    """A client is no longer there."""


class Datasets:
    """The service."""

    def __init__(self, context: Context, callers: Callers, tree: FileTree) -> None:
        """Take what it stands on.

        Args:
            context: of the methods.
            callers: tells who calls.
            tree: of all files, whoever may see them.
        """
        self._context, self._callers, self._tree = context, callers, tree
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="grpc")
        self._doors = Doors(DOORS)  # apart, so that a flood of passwords holds up nobody whom memory knows
        self._reading = 0
        self._looking: asyncio.Task[bool] | None = None

    def handlers(self) -> Any:
        """Return what gRPC calls."""
        found = {method.name: self._unary(method) for method in METHODS}
        found[READ_FILE] = grpc.unary_stream_rpc_method_handler(
            self._read_file,
            response_serializer=pb.ReadFileResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(NAME, found)

    async def ready(self) -> bool:
        """Tell whether the store can be read. Anybody may ask, however often: one look answers all who do meanwhile."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._ready())
        return await asyncio.shield(self._looking)

    async def _ready(self) -> bool:
        try:
            await self.on_thread(self._look)
        except Exception:  # whatever it is: it is not ready, and who asks for more is told what is wrong
            return False
        return True

    async def on_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run on a thread what may wait."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._doors.close()

    def _look(self) -> None:
        self._tree.children(self._tree.root(), limit=1)

    async def _caller(self, call: Any, *, writes: bool) -> Caller:
        try:
            return self._callers.caller(call, writes=writes, wait=False)
        except NotWarm:
            return await self._doors.through(
                address_of(call.peer()), partial(self._callers.caller, call, writes=writes)
            )

    def _unary(self, method: Method) -> Any:
        async def handle(request: bytes, call: Any) -> Any:
            patience.begun()
            try:
                message = messages.parsed(method.request, request)
                who = await self._caller(call, writes=method.writes)
                return await self.on_thread(method.answer, self._context, who, message)
            except Exception as error:  # the shell's one catch-all: nothing was sent yet
                told = answer_of(error, method.name)
            finally:
                patience.ending()
            return await _end(call, told)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            response_serializer=method.response.SerializeToString,
        )

    async def _read_file(self, request: bytes, call: Any) -> None:
        patience.begun()
        if self._reading >= READS:
            patience.ending()
            await _end(call, Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{READS} files are being read already"))
        self._reading += 1
        try:
            message = messages.parsed(pb.ReadFileRequest, request)
            who = await self._caller(call, writes=False)
            part = await self.on_thread(self._open, who, message)
            async for piece in pieces(self._tree, part, self.on_thread):
                self._context.on.need_read(who, message.place.dataset)  # the policy may have changed meanwhile
                await _write(call, piece)
            return
        except Gone:
            return
        except Stalled:
            told = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, f"nothing was taken for {STALLED_S:.0f} s")
        except Exception as error:  # as above, but that some of the file may have been sent
            told = answer_of(error, READ_FILE)
        finally:
            self._reading -= 1
            patience.ending()
        await _end(call, told)

    def _open(self, who: Caller, message: pb.ReadFileRequest) -> Part:
        where = messages.where_of(message.place)
        return self._context.files.open_file(who, where, message.offset, message.length)


async def _write(call: Any, message: pb.ReadFileResponse) -> None:
    """Send a message as soon as there is room for it."""
    try:
        async with asyncio.timeout(STALLED_S):
            await call.write(message)
    except TimeoutError:
        raise Stalled from None
    except aio.InternalError:
        raise Gone from None


async def _end(call: Any, told: Answer) -> None:
    """End a call with what its client is told; never returns."""
    await call.abort(told.code, told.details, told.metadata)
