"""What clients can't do to a server of gRPC: fill its memory, hold its threads, learn what is not for them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from auth.passwords import Passwords
from auth.policy import parse_policy
from gateway.config import Address
from gateway.lifecycle import ServeError, bound, listen
from gateway.rpc import patience, server, service
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.limits import LARGEST_REQUEST, PIECE
from store.errors import ObjectCorrupt, StoreUnavailable
from tests.support.rpc_client import DEADLINE_S, Refused, RpcClient, basic, refused
from tests.unit.gateway.rpc.conftest import CONNECTIONS, Serving, serving, staged

PATIENCE_S = 30.0
HELD = 64 << 20  # bytes that a client may have made the server read which takes nothing: gRPC's windows, and a piece


class Tree:
    """A tree of which a test says how it reads files; all are endless in their middle."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self.read_bytes = 0
        self.going = threading.Event()  # while it is not set, whatever may wait does
        self.going.set()
        self.fails: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def lookup(self, folder: Any, name: bytes) -> Any:
        assert self.going.wait(PATIENCE_S)
        if self.fails is not None:
            raise self.fails
        found = self._tree.lookup(folder, name)
        return found._replace(size=1 << 40) if name == b"big" else found

    def read_warm(self, file: Any, offset: int, size: int) -> Any:
        self.read_bytes += size
        return [memoryview(bytes(size))]


class Bounded:
    """A server with small limits."""

    def __init__(self, serving: Serving, tree: Tree) -> None:
        self.serving, self.tree = serving, tree
        self.client = serving.client


BIG = pb.ReadFileRequest(place=pb.Place(dataset="maps", tag="1.0.0", path="big"))
SMALL = pb.ReadFileRequest(place=pb.Place(dataset="maps", tag="1.0.0", path="a.txt"))


def started(folder: Path, **limits: object) -> Iterator[Bounded]:
    with staged(folder) as stage, pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "CALLS", 8)
        patch.setattr(service, "READS", 3)
        patch.setattr(service, "DOORS", 2)
        for name, value in limits.items():
            patch.setattr(service if name == "STALLED_S" else patience, name, value)
        tree = Tree(stage.tree)
        for one in serving(stage, folder / "audit.log", tree):
            yield Bounded(one, tree)


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bounded]:
    yield from started(tmp_path_factory.mktemp("bounded"))


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Bounded]:
    """Serve with so little patience that a test can wait for its end."""
    yield from started(tmp_path, STALLED_S=1.0, BEGIN_S=2.0, END_S=2.0)


def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def answers(client: RpcClient) -> bool:
    return bool(client.ask("WhoAmI", pb.WhoAmIRequest()).principal)


@pytest.mark.slow
def test_a_client_that_takes_nothing_costs_little_and_is_let_go(impatient: Bounded) -> None:
    before = impatient.tree.read_bytes
    with impatient.client("ada") as idle, impatient.client("ada") as other:
        calls = [idle.ask("ReadFile", BIG) for _ in range(3)]
        assert all(next(call).head.size == 1 << 40 for call in calls)
        told = other.refused("ReadFile", SMALL)
        assert told[:2] == (StatusCode.RESOURCE_EXHAUSTED, "3 files are being read already")
        until(lambda: not isinstance(other.told("WhoAmI", pb.WhoAmIRequest()), Refused))
        until(lambda: impatient.serving.service._reading == 0)
        assert impatient.tree.read_bytes - before < HELD
        assert other.read("maps", "1.0.0", "a.txt") == bytes(6)
        for call in calls:
            with pytest.raises(grpc.RpcError) as ended:
                for _ in call:
                    pass
            assert refused(ended.value).code in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.CANCELLED)


@pytest.mark.slow
def test_clients_that_stand_still_hold_no_places(impatient: Bounded) -> None:
    """Places are 8: who takes nothing of a file, or sends no request, gives back what it has."""
    silent = threading.Event()
    kept: list[Any] = []

    def nothing() -> Iterator[bytes]:
        silent.wait(PATIENCE_S)
        yield from ()

    def begins() -> bool:
        client = impatient.client("ada")  # its own connection: one that stands still does so for all its calls
        call = client.ask("ReadFile", BIG)
        try:
            next(call)
        except grpc.RpcError:  # no place yet
            client.channel.close()
            return False
        kept.append(call)
        stack.callback(client.channel.close)
        return True

    with contextlib.ExitStack() as stack:
        other = stack.enter_context(impatient.client("ada"))
        silently = other.channel.stream_unary("/aetherfs.v1.DatasetService/WhoAmI", bytes, bytes)
        try:
            for _ in range(8):
                kept.append(silently.future(nothing(), timeout=DEADLINE_S))
                until(begins)
            until(lambda: not isinstance(other.told("WhoAmI", pb.WhoAmIRequest()), Refused))
            until(lambda: any(call.done() and call.code() is StatusCode.CANCELLED for call in kept[::2]))
        finally:
            silent.set()


def test_a_client_that_goes_ends_what_it_asked_for(bounded: Bounded, caplog: pytest.LogCaptureFixture) -> None:
    with bounded.client("ada") as client:
        call = client.ask("ReadFile", BIG)
        for _ in range(20):
            next(call)
        call.cancel()
        until(lambda: bounded.serving.service._reading == 0)
        call = client.ask("ReadFile", BIG)
        next(call)
    until(lambda: bounded.serving.service._reading == 0)
    assert not caplog.records  # that clients go is nothing to tell of


def test_a_file_that_is_sent_ends_when_the_policy_hides_it(bounded: Bounded) -> None:
    policies, before = bounded.serving.policies, bounded.serving.policies.policy
    try:
        with bounded.client("ada") as client:
            call = client.ask("ReadFile", BIG)
            next(call)
            bounded.serving.audited()
            policies.policy = parse_policy("")
            with pytest.raises(grpc.RpcError) as ended:
                for _ in call:
                    pass
        assert refused(ended.value).code is StatusCode.NOT_FOUND
        (line,) = bounded.serving.audited()
        assert (line["event"], line["principal"], line["dataset"]) == ("denial", "user:ada", "maps")
    finally:
        policies.policy = before


def test_a_slow_client_gets_all_of_it(bounded: Bounded) -> None:
    with bounded.client("ada") as client:
        place = pb.Place(dataset="maps", tag="1.0.0", path="big")
        call = client.ask("ReadFile", pb.ReadFileRequest(place=place, length=40 * PIECE))
        found = 0
        for message in call:
            found += len(message.data)
            time.sleep(0.02)
        assert found == 40 * PIECE


def test_what_waits_for_the_store_holds_up_nobody_else_and_ends_by_its_deadline(bounded: Bounded) -> None:
    bounded.tree.going.clear()
    try:
        with bounded.client("ada") as client:
            with pytest.raises(grpc.RpcError) as ended:
                client.ask("ListFolder", pb.ListFolderRequest(place=SMALL.place), timeout_s=0.5)
            assert refused(ended.value).code is StatusCode.DEADLINE_EXCEEDED
            assert answers(client)
            assert client.health() == 1
    finally:
        bounded.tree.going.set()


def test_asking_for_the_health_holds_one_thread_however_many_ask() -> None:
    looks: list[int] = []
    begun, going = threading.Event(), threading.Event()

    class Slow:
        def root(self) -> None: ...

        def children(self, *_arguments: object, **_more: object) -> None:
            looks.append(1)
            begun.set()
            assert going.wait(PATIENCE_S)

    async def main() -> None:
        nobody: Any = None
        asking: Any = Slow()
        one = service.Datasets(nobody, nobody, asking)
        asked = [asyncio.ensure_future(one.ready()) for _ in range(50)]
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        asked[0].cancel()
        going.set()
        assert await asyncio.gather(*asked[1:]) == [True] * 49
        assert looks == [1]
        assert await one.ready()
        assert looks == [1, 1]
        one.close()

    asyncio.run(main())


def test_those_whom_memory_knows_wait_for_no_passwords_of_others(
    bounded: Bounded, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = threading.Event()
    check = Passwords.check

    def slow(self: Passwords, *arguments: Any) -> Any:
        assert hashing.wait(PATIENCE_S)
        return check(self, *arguments)

    with bounded.client("ada") as known:
        assert answers(known)
        monkeypatch.setattr(Passwords, "check", slow)
        other = RpcClient(str(bounded.serving.address), authorization=basic("root", "a wrong one"))
        with other:
            calls = [other.stub.WhoAmI.future(pb.WhoAmIRequest(), timeout=DEADLINE_S, metadata=other._metadata)
                     for _ in range(5)]  # fmt: skip
            assert all(answers(known) for _ in range(10))
            hashing.set()
            codes = {refused(call.exception()).code for call in calls}
    assert codes == {StatusCode.UNAUTHENTICATED}


def test_more_calls_than_are_answered_at_once_are_refused(bounded: Bounded) -> None:
    bounded.tree.going.clear()
    try:
        with bounded.client("ada") as client:
            request = pb.ListFolderRequest(place=pb.Place(dataset="maps", tag="1.0.0"))
            waiting = [client.stub.ListFolder.future(request, timeout=DEADLINE_S, metadata=client._metadata)
                       for _ in range(12)]  # fmt: skip
            until(lambda: sum(call.done() for call in waiting) >= 4)
            told = [refused(call.exception()) for call in waiting if call.done()]
            assert {one.code for one in told} == {StatusCode.RESOURCE_EXHAUSTED}
            bounded.tree.going.set()
            until(lambda: all(call.done() for call in waiting))
            assert 1 <= sum(call.exception() is None for call in waiting) <= 8
            assert answers(client)
    finally:
        bounded.tree.going.set()


def test_connections_are_bounded_and_one_that_ends_makes_room(bounded: Bounded) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(bounded.client("ada")) for _ in range(CONNECTIONS + 1)]
        assert all(answers(client) for client in clients[:-1])
        with pytest.raises(grpc.RpcError):
            clients[-1].ask("WhoAmI", pb.WhoAmIRequest(), timeout_s=0.5)
        clients[0].channel.close()
        until(lambda: not isinstance(clients[-1].told("WhoAmI", pb.WhoAmIRequest()), Refused))


def test_requests_that_are_too_large_are_refused(bounded: Bounded) -> None:
    with bounded.client("ada") as client:
        told = client.refused("GetDataset", pb.GetDatasetRequest(dataset="x" * (LARGEST_REQUEST + 1)))
        assert told.code is StatusCode.RESOURCE_EXHAUSTED
        told = client.refused("GetDataset", pb.GetDatasetRequest(dataset="x" * (LARGEST_REQUEST - 100)))
        assert told.code is StatusCode.NOT_FOUND
        for character in "x\N{CJK UNIFIED IDEOGRAPH-5730}\N{GRINNING FACE}" * 5:  # of longer ones clients refuse some
            told = client.refused("GetDataset", pb.GetDatasetRequest(dataset=character * 10_000))
            assert told.code is StatusCode.NOT_FOUND
        for size, code in ((10 << 20, StatusCode.RESOURCE_EXHAUSTED), (1000, StatusCode.NOT_FOUND)):  # as it unpacks
            with pytest.raises(grpc.RpcError) as ended:
                client.stub.GetDataset(
                    pb.GetDatasetRequest(dataset="x" * size), metadata=client._metadata, timeout=DEADLINE_S,
                    compression=grpc.Compression.Gzip,
                )  # fmt: skip
            assert refused(ended.value).code is code
    with RpcClient(str(bounded.serving.address), authorization="Bearer " + "x" * 100_000) as client:
        assert client.refused("WhoAmI", pb.WhoAmIRequest()).code is StatusCode.RESOURCE_EXHAUSTED
    with RpcClient(str(bounded.serving.address), authorization="Bearer " + "x" * 17_000) as client:
        assert client.refused("WhoAmI", pb.WhoAmIRequest()).code is StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StoreUnavailable("s3://secret-bucket", "no route"), StatusCode.UNAVAILABLE, "the store does not answer, or"),
        (ObjectCorrupt("packs/secret-bucket", "its digest does not fit"), StatusCode.DATA_LOSS, "it failed"),
        (KeyError("secret-bucket"), StatusCode.INTERNAL, "it failed"),
    ],
    ids=["unavailable", "corrupt", "strange"],
)
def test_what_is_our_fault_is_told_by_a_number_alone(
    bounded: Bounded, error: Exception, code: StatusCode, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bounded.tree.fails = error
    try:
        with bounded.client("ada") as client:
            for method, request in (("ListFolder", pb.ListFolderRequest(place=SMALL.place)), ("ReadFile", SMALL)):
                told = client.refused(method, request)
                assert told.code is code
                assert told.details.startswith(said)
                assert "secret" not in told.details
                number = told.details.partition("(request ")[2].rstrip(")")
                assert len(number) == 16
                assert ("grpc-retry-pushback-ms" in told.metadata) == (code is StatusCode.UNAVAILABLE)
    finally:
        bounded.tree.fails = None


def test_two_who_ask_at_once_are_nobody(bounded: Bounded) -> None:
    with bounded.client("ada") as client:
        twice = [*client._metadata, *client._metadata]
        with pytest.raises(grpc.RpcError) as ended:
            client.stub.WhoAmI(pb.WhoAmIRequest(), metadata=twice, timeout=DEADLINE_S)
        assert refused(ended.value).code is StatusCode.UNAUTHENTICATED


def test_a_method_that_there_is_not_is_told_so(bounded: Bounded) -> None:
    with bounded.client() as client:
        call = client.channel.unary_unary("/aetherfs.v1.DatasetService/Destroy", bytes, bytes)
        with pytest.raises(grpc.RpcError) as ended:
            call(b"", timeout=DEADLINE_S)
        assert refused(ended.value).code is StatusCode.UNIMPLEMENTED


def test_an_address_that_something_else_listens_at_is_named(bounded: Bounded) -> None:
    with listen("grpc", Address("127.0.0.1", 0)) as other:
        taken = bound(other)
        with pytest.raises(ServeError, match=f"grpc: address {taken} is already in use"):
            server.RpcServer(taken, lambda: bounded.serving.service, connections=1)


def test_a_server_that_is_drained_lets_calls_finish_and_takes_no_more(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        tree = Tree(stage.tree)
        running = serving(stage, tmp_path / "audit.log", tree)
        one = next(running)
        with one.client("ada") as client:
            assert answers(client)
            tree.going.clear()
            waiting = client.stub.ListFolder.future(
                pb.ListFolderRequest(place=pb.Place(dataset="maps", tag="1.0.0")),
                timeout=DEADLINE_S, metadata=client._metadata,
            )  # fmt: skip
            seen = client.watch("aetherfs.v1.DatasetService")
            assert next(seen) == 1
            ending = threading.Thread(target=lambda: next(running, None))
            ending.start()
            assert next(seen) == 2  # NOT_SERVING
            tree.going.set()
            assert len(waiting.result().entries) == 8
            ending.join(PATIENCE_S)
            assert not ending.is_alive()
            with pytest.raises(grpc.RpcError) as ended:
                client.ask("WhoAmI", pb.WhoAmIRequest(), wait=False)
            assert refused(ended.value).code is StatusCode.UNAVAILABLE
