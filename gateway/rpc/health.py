"""Health checking (grpc/health/v1/health.proto): alive, and able to serve as `/readyz` tells it for HTTP.

The empty name stands for the process, which is alive; a service's for whether the store shows its datasets. Everybody
may ask. Threads: the loop of the server.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.rpc import patience
from gateway.rpc.limits import WATCHED_S, WATCHES

EVERY_S: Final = 5.0  # between two looks, for who watches
WHOLE: Final = ""
_SERVING: Final[int] = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final[int] = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the stubs know no types of it
    """Answers `grpc.health.v1.Health`."""

    def __init__(self, services: Collection[str], ready: Callable[[], Awaitable[bool]]) -> None:
        """Tell of services; `ready` says whether the store can be read."""
        self._services, self._ready = frozenset(services), ready
        self._draining = asyncio.Event()
        self._watching = 0

    def drain(self) -> None:
        """Tell everybody that nothing more is served."""
        self._draining.set()

    async def Check(self, request: Any, context: Any) -> Any:  # the service's own name
        """Say how a service is."""
        patience.begun()
        status = await self._status(request.service)
        patience.ending()
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> None:
        """Say how a service is, now and whenever that changes."""
        patience.begun()
        if self._watching >= WATCHES:
            patience.ending()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHES} watch already")
        self._watching += 1
        try:
            async with asyncio.timeout(WATCHED_S):
                return await self._watch(request.service, context)
        except TimeoutError:
            pass
        finally:
            self._watching -= 1
            patience.ending()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "watched for long enough: begin anew")

    async def _watch(self, service: str, context: Any) -> None:
        told: int | None = None
        while True:
            last = self._draining.is_set()  # asked first: what is told last is that nothing is served
            status = await self._status(service)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            if last:
                return
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._draining.wait()
            except TimeoutError:
                continue

    async def _status(self, service: str) -> int:
        if service != WHOLE and service not in self._services:
            return _UNKNOWN
        if self._draining.is_set():
            return _NOT_SERVING
        return _SERVING if service == WHOLE or await self._ready() else _NOT_SERVING
