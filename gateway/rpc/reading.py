"""`ReadFile`: a file as a stream of messages, no faster than its client takes them.

One piece at a time is held, and the next is read when gRPC has room for it (HTTP/2's flow control): so a client that
stands still costs a piece and what gRPC buffers, and after a minute it is let go. Bytes that memory has are read on the
loop, others by a thread. Threads: the loop of the server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from gateway.operations.files import Part
from gateway.rpc import messages
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.limits import PIECE
from store.vfs.tree import FileTree

OnThread = Callable[..., Awaitable[Any]]  # of a function and its arguments


async def pieces(tree: FileTree, part: Part, on_thread: OnThread) -> AsyncIterator[pb.ReadFileResponse]:
    """Yield the messages of a part of a file.

    Raises:
        StoreError: bytes can't be had.
    """
    at, left = part.offset, part.length
    head: pb.ReadFileResponse.Head | None = messages.head_of(part)
    while True:
        wanted = min(PIECE, left)
        views = tree.read_warm(part.node, at, wanted) if wanted else []
        if views is None:
            views = await on_thread(tree.read, part.node, at, wanted)
        data = b"".join(views)
        if len(data) < wanted:
            raise RuntimeError(f"a file ended at byte {at + len(data)} that has {part.node.size}")
        yield pb.ReadFileResponse(head=head, data=data)
        head, at, left = None, at + len(data), left - len(data)
        if not left:
            return
        await asyncio.sleep(0)  # others have their turn, however fast the client is
