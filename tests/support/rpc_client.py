"""A client of gRPC, made with gRPC's own library and the generated code, as users make theirs."""

import base64
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # tests start processes while calls are being made

import grpc
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.aetherfs.v1 import datasets_pb2_grpc

DEADLINE_S = 30.0


class Refused(NamedTuple):
    """What a call ended with that was not answered."""

    code: StatusCode
    details: str
    metadata: Mapping[str, str]  # behind the answer


class Shown(NamedTuple):
    """What a client trusts and shows in TLS: PEM."""

    trusts: bytes
    key: bytes | None = None
    certificate: bytes | None = None


class RpcClient:
    """One connection, as somebody."""

    def __init__(self, address: str, shown: Shown | None = None, *, authorization: str = "") -> None:
        """Connect when first asked.

        Args:
            address: HOST:PORT.
            shown: speak TLS with it.
            authorization: as HTTP has it; sent with each call.
        """
        # Channels of one process to one address share a connection otherwise, whatever they show.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        options += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
        if shown is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            credentials = grpc.ssl_channel_credentials(shown.trusts, shown.key, shown.certificate)
            self.channel = grpc.secure_channel(address, credentials, options)
        self.stub: Any = datasets_pb2_grpc.DatasetServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self._metadata = [("authorization", authorization)] if authorization else []

    def __enter__(self) -> "RpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def ask(self, method: str, request: Any, *, wait: bool = True, timeout_s: float = DEADLINE_S) -> Any:
        """Call a method; return its answer, raise `grpc.RpcError` for none.

        Args:
            method: of `DatasetService`.
            request: its message.
            wait: for a connection, if there is none yet.
            timeout_s: the deadline.
        """
        call = getattr(self.stub, method)
        return call(request, timeout=timeout_s, metadata=self._metadata, wait_for_ready=wait)

    def told(self, method: str, request: Any) -> Any:
        """Call a method; return its answer (of a stream: the list of its messages), or why there is none."""
        try:
            answer = self.ask(method, request)
            return list(answer) if method == "ReadFile" else answer
        except grpc.RpcError as error:
            return refused(error)

    def refused(self, method: str, request: Any) -> Refused:
        """Call a method that is not to be answered; return why."""
        told = self.told(method, request)
        assert isinstance(told, Refused), told
        return told

    def read(self, dataset: str, tag: str, path: str, offset: int = 0, length: int = 0) -> bytes:
        """Read a file, or a part of it."""
        place = pb.Place(dataset=dataset, tag=tag, path=path)
        request = pb.ReadFileRequest(place=place, offset=offset, length=length)
        return b"".join(message.data for message in self.ask("ReadFile", request))

    def health(self, service: str = "") -> int:
        """Return how a service is; see `grpc_health.v1`."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=service)
        return int(stub.Check(request, timeout=DEADLINE_S, wait_for_ready=True).status)

    def watch(self, service: str = "") -> Iterator[int]:
        """Yield how a service is, now and whenever that changes."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        for answer in stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_S):
            yield int(answer.status)


def refused(error: grpc.RpcError) -> Refused:
    """Return why a call was not answered."""
    call: Any = error
    metadata = {str(key): str(value) for key, value in call.trailing_metadata() or ()}
    return Refused(call.code(), call.details(), metadata)


def basic(user: str, password: str) -> str:
    """Return the metadata of Basic."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> str:
    """Return the metadata of Bearer."""
    return f"Bearer {token}"
