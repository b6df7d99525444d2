"""The matrix's columns of gRPC: who shows what in a call's metadata, asks for what, and is told which code."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from tests.interop.access import table
from tests.interop.access.table import ABSENT, DATASETS, RPC_ACROSS, RPC_ACTIONS, RPC_PRINCIPALS, RpcAction, Who
from tests.interop.access.world import Gateway, World
from tests.support.rpc_client import Refused, RpcClient, Shown

pytestmark = [pytest.mark.interop, pytest.mark.slow]
NAMES = (*DATASETS, ABSENT["secret"])


class Columns:
    """A connection of everybody's to every gateway."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: dict[tuple[str, str], RpcClient] = {}
        for gateway, who in itertools.product(world.gateways, RPC_PRINCIPALS):
            shown = Shown(world.authority.pem) if gateway.tls else None
            authorization = world.shown(who, gateway).get("Authorization", "")
            self.kept[gateway.name, who.id] = RpcClient(gateway.grpc, shown, authorization=authorization)

    def cells(self) -> Iterator[tuple[Gateway, Who]]:
        """Yield every gateway with everybody."""
        yield from itertools.product(self.world.gateways, RPC_PRINCIPALS)

    def ask(self, gateway: Gateway, who: Who, action: RpcAction, dataset: str) -> Any:
        """Ask as somebody; return the answer, or why there is none."""
        state = self.world.states.get(dataset, self.world.states["secret"])
        text = json.dumps(dict(action.fields)).replace("{d}", dataset).replace("{s}", state)
        request = ParseDict(json.loads(text), getattr(pb, f"{action.method}Request")())
        told = self.kept[gateway.name, who.id].told(action.method, request)
        if isinstance(told, Refused):
            self.world.said.add(f"{told.details}{told.metadata}")
        return told


@pytest.fixture(scope="module")
def columns(matrix: World) -> Iterator[Columns]:
    found = Columns(matrix)
    yield found
    for client in found.kept.values():
        client.channel.close()


def code(told: Any) -> str:
    return str(told.code.name) if isinstance(told, Refused) else "OK"


def ids(action: RpcAction) -> str:
    return f"{action.method}-{json.dumps(action.fields)[:60]}"


@pytest.mark.parametrize("action", RPC_ACTIONS, ids=ids)
def test_everybody_is_told_what_the_table_says(columns: Columns, action: RpcAction) -> None:
    wrong = []
    for dataset in NAMES:
        answers = set()
        for gateway, who in columns.cells():
            told = columns.ask(gateway, who, action, dataset)
            wanted = table.wanted_rpc(who, action, dataset, there=dataset in DATASETS)
            if code(told) != wanted:
                wrong.append((gateway.name, who.id, dataset, code(told), wanted))
            if not isinstance(told, Refused):
                answers.add(repr(told))
        assert len(answers) <= 1, answers
    assert not wrong


@pytest.mark.parametrize("source", NAMES)
def test_a_state_is_tagged_elsewhere_by_who_may_read_it(columns: Columns, source: str) -> None:
    for gateway, who in columns.cells():
        told = columns.ask(gateway, who, RPC_ACROSS, source)
        assert code(told) == table.RPC_CODES[table.wanted_across(who, source)], (gateway.name, who.id, told)


@pytest.mark.parametrize("action", RPC_ACTIONS, ids=ids)
def test_what_is_hidden_is_told_in_the_words_for_what_is_absent(columns: Columns, action: RpcAction) -> None:
    for (gateway, who), (hidden, absent) in itertools.product(columns.cells(), ABSENT.items()):
        if hidden in who.reads:
            continue
        one, other = (columns.ask(gateway, who, action, name) for name in (hidden, absent))
        assert one.code is other.code
        assert one.details.replace(hidden, absent) == other.details, (gateway.name, who.id)
        assert one.metadata == other.metadata


def test_lists_have_what_may_be_read_and_everybody_is_who_they_are(columns: Columns) -> None:
    for gateway, who in columns.cells():
        client = columns.kept[gateway.name, who.id]
        if not who.good:
            assert code(client.told("ListDatasets", pb.ListDatasetsRequest())) == "UNAUTHENTICATED"
            assert code(client.told("WhoAmI", pb.WhoAmIRequest())) == "UNAUTHENTICATED"
            continue
        assert client.ask("WhoAmI", pb.WhoAmIRequest()).principal == who.says
        found: list[str] = []
        request = pb.ListDatasetsRequest(page_size=2)
        while True:
            page = client.ask("ListDatasets", request)
            found += page.datasets
            if not page.next_page_token:
                break
            assert len(page.datasets) == 2
            request.page_token = page.next_page_token
        assert sorted(found) == sorted(who.reads), (gateway.name, who.id)
