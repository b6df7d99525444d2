"""Reflection (grpc/reflection/v1alpha): which services there are, for programs such as grpcurl.

What it tells is in the project's own files, so everybody may ask; only so many at a time. Threads: the loop of the
server.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from gateway.rpc import patience
from gateway.rpc.limits import REFLECTED_S, REFLECTIONS


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc, name-defined]  # the stubs leave it out
    """Answers `grpc.reflection.v1alpha.ServerReflection`."""

    def __init__(self, services: tuple[str, ...]) -> None:
        super().__init__(services)
        self._asking = 0

    async def ServerReflectionInfo(  # the service's own name
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Answer one question after the other."""
        patience.begun()
        if self._asking >= REFLECTIONS:
            patience.ending()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{REFLECTIONS} ask already")
        self._asking += 1
        try:
            async with asyncio.timeout(REFLECTED_S):
                async for answer in super().ServerReflectionInfo(request_iterator, context):
                    yield answer
                return
        except TimeoutError:
            pass
        finally:
            self._asking -= 1
            patience.ending()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "asked for long enough: begin anew")
