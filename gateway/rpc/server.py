"""gRPC's server, as a worker runs it: a loop of its own on a thread, from when it listens until it is drained.

Threads: the loop's; `serve_forever` and `drain` are called from others.
"""

import asyncio
import concurrent.futures
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log tells of every handshake that fails

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from gateway.config import Address
from gateway.lifecycle import in_use
from gateway.rpc.health import Health
from gateway.rpc.limits import CALLS, options
from gateway.rpc.patience import Patience, know_tasks
from gateway.rpc.reflecting import Reflection
from gateway.rpc.service import NAME, Datasets

CLOSING_S: Final = 1.0  # for what is left when the patience has ended


class RpcServer:
    """Accepts calls at an address."""

    def __init__(
        self,
        address: Address,
        make: Callable[[], Datasets],
        *,
        connections: int,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Listen; answer from now on.

        Args:
            address: numbers, and a port other than 0.
            make: makes the service; called on the loop.
            connections: most that may be open at once.
            credentials: to speak TLS with; `None`: no TLS.

        Raises:
            ServeError: something else listens there.
        """
        self._address, self._make = address, make
        self._connections, self._credentials = connections, credentials
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._health: Health | None = None
        self._service: Datasets | None = None
        self._thread = threading.Thread(target=self._run, name="grpc-loop", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def serve_forever(self) -> None:
        """Answer until drained."""
        asyncio.run_coroutine_threadsafe(self._server.wait_for_termination(), self._loop).result()

    def drain(self, timeout_s: float) -> None:
        """Accept no more, and let calls in flight finish."""
        stopping = asyncio.run_coroutine_threadsafe(self._stop(timeout_s), self._loop)
        concurrent.futures.wait([stopping], timeout_s + CLOSING_S)

    def _run(self) -> None:
        logging.getLogger("grpc").setLevel(logging.CRITICAL)  # it tells of each client that went before it was answered
        asyncio.set_event_loop(self._loop)
        know_tasks(self._loop)
        self._loop.run_forever()

    async def _start(self) -> None:
        self._server = aio.server(
            interceptors=(Patience(),), options=options(self._connections), maximum_concurrent_rpcs=CALLS
        )
        self._service = self._make()
        services = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        self._health = Health(services, self._service.ready)
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection(services), self._server)
        try:
            if self._credentials is None:
                self._server.add_insecure_port(str(self._address))
            else:
                self._server.add_secure_port(str(self._address), self._credentials)
        except RuntimeError as error:  # gRPC says no more; the address was free a moment ago
            raise in_use("grpc", self._address) from error
        await self._server.start()

    async def _stop(self, timeout_s: float) -> None:
        if self._health is not None:
            self._health.drain()
        await self._server.stop(timeout_s)
        if self._service is not None:
            self._service.close()
