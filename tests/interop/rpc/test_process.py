"""The process of gRPC under its supervisor: its port, its end, its death, and others who want the same address."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from tests.interop.rpc.conftest import BIG
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.rpc_client import RpcClient

pytestmark = [pytest.mark.interop, pytest.mark.slow]


def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def workers(gateway: Gateway) -> list[int]:
    """Return the processes of a gateway."""
    return [
        int(word)
        for word in Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    ]


def imported(pid: int) -> set[str]:
    """Return which of gRPC's libraries a process has."""
    return set(re.findall(r"cygrpc|grpc", Path(f"/proc/{pid}/maps").read_text()))


def test_everybody_reads_and_tags_where_there_is_no_login(open_gateway: Gateway) -> None:
    with RpcClient(open_gateway.grpc) as client:
        assert client.ask("WhoAmI", pb.WhoAmIRequest()).admin
        assert list(client.ask("ListDatasets", pb.ListDatasetsRequest()).datasets) in (
            ["maps", "secret"], ["secret", "maps"],
        )  # fmt: skip
        assert client.read("maps", "1.0.0", "big") == BIG
        assert client.read("maps", "1.0.0", "big", 300_000, 700_001) == BIG[300_000:1_000_001]
        made = client.ask("SetTag", pb.SetTagRequest(dataset="maps", tag="open", reference="maps:1.0.0"))
        assert made.made
        client.ask("DeleteTag", pb.DeleteTagRequest(dataset="maps", tag="open"))


def test_health_is_told_of_the_process_and_the_service_and_of_no_other(open_gateway: Gateway) -> None:
    with RpcClient(open_gateway.grpc) as client:
        assert client.health() == client.health("aetherfs.v1.DatasetService") == 1
        with pytest.raises(grpc.RpcError) as ended:
            client.health("aetherfs.v1.Other")
        assert ended.value.code() is grpc.StatusCode.NOT_FOUND
        assert next(client.watch("aetherfs.v1.Other")) == 3


def test_reflection_tells_the_services_and_their_messages(open_gateway: Gateway) -> None:
    with RpcClient(open_gateway.grpc) as client:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="aetherfs.v1.DatasetService"),
        ]
        services, file = stub.ServerReflectionInfo(iter(asked), timeout=DEADLINE_S)
        assert sorted(one.name for one in services.list_services_response.service) == [
            "aetherfs.v1.DatasetService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
        ]  # fmt: skip
        (proto,) = [one for one in file.file_descriptor_response.file_descriptor_proto if b"ListFolderRequest" in one]
        assert b"aetherfs.v1" in proto


def test_what_pages_of_other_sites_can_send_is_not_answered(open_gateway: Gateway, tmp_path: Path) -> None:
    """A page may set any type, but not `TE` (fetch.spec.whatwg.org: forbidden request-headers)."""
    (tmp_path / "message").write_bytes(bytes(5))

    def posted(*fields: str) -> bytes:
        url = f"http://{open_gateway.grpc}/aetherfs.v1.DatasetService/WhoAmI"
        program = ["curl", "-s", "--http2-prior-knowledge", "--data-binary", f"@{tmp_path}/message", url]
        headers = [word for field in fields for word in ("-H", field)]
        return subprocess.run([*program, *headers], capture_output=True, timeout=DEADLINE_S, check=False).stdout

    assert b"anonymous" in posted("Content-Type: application/grpc", "TE: trailers")
    for kind in ("application/grpc", "text/plain"):
        assert posted(f"Content-Type: {kind}") == b""


def test_only_its_own_process_has_the_library(place: Place) -> None:
    with place.serve(nfs="off", grpc="127.0.0.1:0") as gateway:
        having = [pid for pid in (gateway.process.pid, *workers(gateway)) if imported(pid)]
        assert len(workers(gateway)) == 2
        assert len(having) == 1
        assert having[0] != gateway.process.pid
        assert re.fullmatch(r"ready http=http://127\.0\.0\.1:\d+ grpc=127\.0\.0\.1:\d+", gateway.ready)
        assert gateway.stop() == 0


def test_a_worker_that_is_killed_is_replaced_at_the_same_port_which_nobody_gets_meanwhile(place: Place) -> None:
    with place.serve(http="off", nfs="off", grpc="127.0.0.1:0") as gateway, RpcClient(gateway.grpc) as client:
        host, _, port = gateway.grpc.rpartition(":")

        def replaced(before: list[int]) -> bool:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((host, int(port)))
            return workers(gateway) not in ([], before)

        for _ in range(2):  # before anybody has connected, and behind the back of somebody who has
            (first,) = before = workers(gateway)
            os.kill(first, signal.SIGKILL)
            until(functools.partial(replaced, before))
            assert client.read("maps", "1.0.0", "a.txt") == b"maps"
        assert client.health() == 1
        assert gateway.stop() == 0


def test_after_it_was_killed_a_gateway_starts_again_at_the_same_address(place: Place) -> None:
    with place.serve(http="off", nfs="off", grpc="127.0.0.1:0") as first, RpcClient(first.grpc) as client:
        assert client.read("maps", "1.0.0", "a.txt") == b"maps"
        first.kill()
        with place.serve(http="off", nfs="off", grpc=first.grpc) as second:
            assert second.grpc == first.grpc
            assert client.read("maps", "1.0.0", "a.txt") == b"maps"
            assert second.stop() == 0


def test_an_address_in_use_ends_the_second_gateway_and_names_it(place: Place, open_gateway: Gateway) -> None:
    program = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--http", "off", "--nfs", "off"]
    done = subprocess.run(
        [*program, "--grpc", open_gateway.grpc], env=place.environment, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"grpc: address {open_gateway.grpc} is already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@contextlib.contextmanager
def reading(gateway: Gateway) -> Iterator[Any]:
    """Begin to read a file, and take no more than its beginning."""
    with RpcClient(gateway.grpc) as client:
        place = pb.Place(dataset="maps", tag="1.0.0", path="big")
        call = client.ask("ReadFile", pb.ReadFileRequest(place=place))
        first = next(call)
        yield call, first


def test_sigterm_lets_what_is_being_read_finish_and_exits_0(place: Place) -> None:
    with (
        place.serve(http="off", nfs="off", grpc="127.0.0.1:0") as gateway,
        RpcClient(gateway.grpc) as other,
        reading(gateway) as (call, first),
    ):
        seen = other.watch("aetherfs.v1.DatasetService")
        assert next(seen) == 1
        gateway.process.send_signal(signal.SIGTERM)
        assert next(seen) == 2  # NOT_SERVING: it has begun to end
        assert first.data + b"".join(message.data for message in call) == BIG
        assert gateway.process.wait(DEADLINE_S) == 0
