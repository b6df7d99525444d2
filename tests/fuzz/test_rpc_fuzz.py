"""Any bytes as a request of gRPC, and any values in one: an answer or a documented code, never INTERNAL."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.callers import address_of
from gateway.rpc.methods import METHODS
from tests.support.rpc_client import DEADLINE_S, Refused, RpcClient, basic, refused
from tests.unit.gateway.rpc.conftest import Serving, serving, staged

REQUESTS: dict[str, type[Message]] = {
    **{method.name: method.request for method in METHODS}, "ReadFile": pb.ReadFileRequest
}  # fmt: skip
FINE = frozenset(
    {
        StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.ALREADY_EXISTS, StatusCode.ABORTED,
        StatusCode.FAILED_PRECONDITION, StatusCode.OUT_OF_RANGE, StatusCode.PERMISSION_DENIED,
    }
)  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["maps", "@geo/city", "latest", "1.0.0", "a.txt", "sub/deep", "b3-" + "0" * 12, "maps:1.0.0", "..", "\0", "MTA="]
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
PLACES = st.builds(pb.Place, dataset=TEXT, tag=TEXT, path=TEXT) | st.builds(
    pb.Place, dataset=TEXT, tag=TEXT, raw_path=st.binary(max_size=30)
)
CONDITIONS = st.none() | st.builds(pb.Condition, manifest=TEXT) | st.builds(pb.Condition, absent=st.booleans())
SIZES = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 1001)
MESSAGES = {
    "WhoAmI": st.builds(pb.WhoAmIRequest),
    "ListDatasets": st.builds(pb.ListDatasetsRequest, page_size=SIZES, page_token=TEXT),
    "GetDataset": st.builds(pb.GetDatasetRequest, dataset=TEXT),
    "ListTags": st.builds(pb.ListTagsRequest, dataset=TEXT, page_size=SIZES, page_token=TEXT),
    "GetTag": st.builds(pb.GetTagRequest, dataset=TEXT, tag=TEXT),
    "SetTag": st.builds(pb.SetTagRequest, dataset=TEXT, tag=TEXT, reference=TEXT, message=TEXT, condition=CONDITIONS),
    "DeleteTag": st.builds(pb.DeleteTagRequest, dataset=st.just("public"), tag=TEXT, condition=CONDITIONS),
    "ListFolder": st.builds(pb.ListFolderRequest, place=PLACES, page_size=SIZES, page_token=TEXT),
    "ReadFile": st.builds(pb.ReadFileRequest, place=PLACES, offset=NUMBERS, length=NUMBERS),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("rpc")
    with staged(folder) as stage:
        yield from serving(stage, folder / "audit.log")


@pytest.fixture(scope="module")
def client(served: Serving) -> Iterator[RpcClient]:
    with served.client("root") as client:
        yield client


def test_every_method_has_its_messages() -> None:
    assert MESSAGES.keys() == REQUESTS.keys()


@given(data=st.data(), method=st.sampled_from(sorted(MESSAGES)))
def test_any_values_are_answered_or_refused_by_a_code_that_says_why(
    client: RpcClient, data: st.DataObject, method: str
) -> None:
    told = client.told(method, data.draw(MESSAGES[method]))
    assert not isinstance(told, Refused) or told.code in FINE, told


@given(data=st.binary(max_size=200), method=st.sampled_from(sorted(REQUESTS)))
def test_any_bytes_are_a_request_or_are_refused(client: RpcClient, data: bytes, method: str) -> None:
    path = f"/aetherfs.v1.DatasetService/{method}"
    metadata = (("authorization", basic("root", "root")),)
    try:
        list(client.channel.unary_stream(path, bytes, bytes)(data, metadata=metadata, timeout=DEADLINE_S))
        code = StatusCode.OK
    except grpc.RpcError as error:
        code = refused(error).code
    assert code in FINE | {StatusCode.OK}


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=100))
def test_any_authorization_is_nobody(served: Serving, text: str) -> None:
    with RpcClient(str(served.address), authorization=text or "x") as client:
        assert client.refused("WhoAmI", pb.WhoAmIRequest()).code in (
            StatusCode.UNAUTHENTICATED, StatusCode.RESOURCE_EXHAUSTED,
        )  # fmt: skip


@given(st.text() | st.from_regex(r"(ipv4|ipv6|unix):[0-9a-f.:%\[\]BD]*", fullmatch=True))
def test_any_peer_is_an_address_or_none(peer: str) -> None:
    assert address_of(peer) == "" or set(address_of(peer)) <= set("0123456789abcdef:.")


def test_peers_are_told_by_their_address_alone() -> None:
    assert address_of("ipv4:192.0.2.7:4711") == "192.0.2.7"
    assert address_of("ipv6:%5B2001:db8::7%5D:4711") == "2001:db8::7"
    assert address_of("ipv6:[::ffff:192.0.2.7]:4711") == "192.0.2.7"
    assert address_of("ipv6:%5Bfe80::1%25eth0%5D:1") == "fe80::1"
    assert address_of("unix:/tmp/x") == ""
