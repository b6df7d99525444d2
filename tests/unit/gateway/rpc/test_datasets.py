"""Datasets and tags by gRPC: what is told, what is changed under which condition, what is refused in which words."""

from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode

from auth.policy import parse_policy
from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from tests.support.rpc_client import Refused, RpcClient, basic
from tests.unit.gateway.rpc.conftest import Serving


def tag(client: RpcClient, dataset: str, name: str) -> pb.Tag:
    found: pb.Tag = client.ask("GetTag", pb.GetTagRequest(dataset=dataset, tag=name))
    return found


def test_who_asks_is_told_who_they_are(served: Serving) -> None:
    with served.client("ada") as ada, served.client("root") as root, served.client() as nobody:
        found = ada.ask("WhoAmI", pb.WhoAmIRequest())
        assert (found.principal, found.kind, found.name, found.owner) == ("user:ada", "user", "ada", "")
        assert (found.admin, found.login) == (False, True)
        assert "read:@geo/*" in found.rules
        assert root.ask("WhoAmI", pb.WhoAmIRequest()).admin
        assert nobody.ask("WhoAmI", pb.WhoAmIRequest()).principal == "anonymous"


def test_a_wrong_password_is_nobody(served: Serving) -> None:
    served.audited()
    with RpcClient(str(served.address), authorization=basic("ada", "wrong")) as client:
        told = client.refused("GetDataset", pb.GetDatasetRequest(dataset="public"))
    assert told[:2] == (
        StatusCode.UNAUTHENTICATED,
        "wrong user, password or token, or one that is no longer good",
    )
    (line,) = served.audited()
    assert (line["event"], line["outcome"], line["principal"], line["surface"]) == (
        "login", "refused", "user:ada", "grpc",
    )  # fmt: skip
    assert line["address"] == "127.0.0.1"
    assert line["agent"].startswith("grpc-python/")


def test_a_page_of_datasets_goes_on_where_the_one_before_ended(served: Serving) -> None:
    with served.client("ada") as client:
        found: list[str] = []
        token, pages = "", 0
        while token or not pages:
            page = client.ask("ListDatasets", pb.ListDatasetsRequest(page_size=1, page_token=token))
            found += page.datasets
            token, pages = page.next_page_token, pages + 1
        assert sorted(found) == ["@geo/city", "@geo/roads", "maps", "public"]
        assert pages == 4
        whole = client.ask("ListDatasets", pb.ListDatasetsRequest())
        assert list(whole.datasets) == found


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (5, "?"), (5, "bm90IGEgbmFtZSE="), (5, "x" * 5000), (5, "w6k=")])
def test_a_page_that_nobody_told_of_is_refused(served: Serving, size: int, token: str) -> None:
    with served.client("ada") as client:
        for method, request in (
            ("ListDatasets", pb.ListDatasetsRequest(page_size=size, page_token=token)),
            ("ListTags", pb.ListTagsRequest(dataset="maps", page_size=size, page_token=token)),
            ("ListFolder", pb.ListFolderRequest(place=pb.Place(dataset="maps", tag="1.0.0"), page_size=size,
                                                page_token=token)),
        ):  # fmt: skip
            told = client.refused(method, request)
            assert told.code is StatusCode.INVALID_ARGUMENT, method
            assert told.details.startswith("page_")


def test_a_dataset_and_its_tags_are_told(served: Serving) -> None:
    with served.client("ada") as client:
        found = client.ask("GetDataset", pb.GetDatasetRequest(dataset="maps"))
        assert (found.dataset, found.tags) == ("maps", 2)
        assert 0 < found.created.ToNanoseconds() < found.changed.ToNanoseconds()
        first = client.ask("ListTags", pb.ListTagsRequest(dataset="maps", page_size=1))
        assert [one.tag for one in first.tags] == ["1.0.0"]
        second = client.ask("ListTags", pb.ListTagsRequest(dataset="maps", page_token=first.next_page_token))
        (latest,) = second.tags
        assert (latest.dataset, latest.tag, latest.kind, latest.files, latest.size) == (
            "maps", "latest", pb.Tag.CHANNEL, 1, 6,
        )  # fmt: skip
        assert not second.next_page_token
        assert tag(client, "maps", "latest") == latest
        assert first.tags[0].kind == pb.Tag.VERSION
        assert latest.manifest.startswith("b3-")
        assert len(latest.manifest) == 67


HIDDEN: dict[str, Callable[[str], Any]] = {  # of which somebody may read nothing
    "GetDataset": lambda name: pb.GetDatasetRequest(dataset=name),
    "ListTags": lambda name: pb.ListTagsRequest(dataset=name),
    "GetTag": lambda name: pb.GetTagRequest(dataset=name, tag="1.0.0"),
    "SetTag": lambda name: pb.SetTagRequest(dataset=name, tag="x", reference="maps:1.0.0"),
    "DeleteTag": lambda name: pb.DeleteTagRequest(dataset=name, tag="1.0.0"),
    "ListFolder": lambda name: pb.ListFolderRequest(place=pb.Place(dataset=name, tag="1.0.0")),
    "ReadFile": lambda name: pb.ReadFileRequest(place=pb.Place(dataset=name, tag="1.0.0", path="s")),
}


@pytest.mark.parametrize("method", HIDDEN)
def test_what_is_hidden_is_told_as_what_is_absent_and_anonymous_callers_are_asked_to_log_in(
    served: Serving, method: str
) -> None:
    with served.client("ada") as ada, served.client() as nobody:
        hidden, absent = (ada.refused(method, HIDDEN[method](name)) for name in ("secret", "absent"))
        assert hidden.code is absent.code is StatusCode.NOT_FOUND
        assert hidden.details == absent.details.replace("absent", "secret")
        for name in ("secret", "absent"):
            told = nobody.refused(method, HIDDEN[method](name))
            assert told.code is StatusCode.UNAUTHENTICATED
            assert told.details.startswith("log in: ")


def test_who_may_read_and_no_more_is_told_which_right_lacks(served: Serving) -> None:
    served.audited()
    with served.client("ada") as client:
        told = client.refused("DeleteTag", pb.DeleteTagRequest(dataset="maps", tag="latest"))
        assert told[:2] == (
            StatusCode.PERMISSION_DENIED,
            "you may read maps, but for this you need the right to delete there",
        )
        assert tag(client, "maps", "latest").tag == "latest"
    line = served.audited()[-1]
    assert (line["event"], line["principal"], line["dataset"], line["action"], line["surface"]) == (
        "denial", "user:ada", "maps", "delete", "grpc",
    )  # fmt: skip


def test_the_policy_is_asked_on_each_call(served: Serving) -> None:
    before = served.policies.policy
    with served.client("ada") as client:
        assert tag(client, "maps", "1.0.0").tag == "1.0.0"
        try:
            served.policies.policy = parse_policy("")
            assert client.refused("GetTag", pb.GetTagRequest(dataset="maps", tag="1.0.0")).code is StatusCode.NOT_FOUND
        finally:
            served.policies.policy = before
        assert tag(client, "maps", "1.0.0").tag == "1.0.0"


def test_a_tag_is_made_moved_and_removed_and_the_audit_log_tells(served: Serving, fresh: str) -> None:
    served.audited()
    with served.client("root") as client:
        one, two = (tag(client, fresh, version).manifest for version in ("1.0.0", "2.0.0"))
        made = client.ask("SetTag", pb.SetTagRequest(dataset=fresh, tag="stable", reference=f"{fresh}:1.0.0"))
        assert (made.made, made.tag.manifest) == (True, one)
        moved = client.ask("SetTag", pb.SetTagRequest(dataset=fresh, tag="stable", manifest=two, message="why"))
        assert (moved.made, moved.tag.manifest) == (False, two)
        assert client.ask("DeleteTag", pb.DeleteTagRequest(dataset=fresh, tag="stable")) == pb.DeleteTagResponse()
        told = client.refused("DeleteTag", pb.DeleteTagRequest(dataset=fresh, tag="stable"))
        assert told.code is StatusCode.NOT_FOUND
    lines = [(line["event"], line["outcome"]) for line in served.audited() if line["event"] != "login"]
    assert lines == [("move", "ok"), ("move", "ok"), ("delete", "ok")]


def test_conditions_of_a_change_hold_or_nothing_is_changed(served: Serving, fresh: str) -> None:
    with served.client("root") as client:
        one, two = (tag(client, fresh, version).manifest for version in ("1.0.0", "2.0.0"))

        def put(manifest: str, condition: pb.Condition) -> pb.SetTagResponse | Refused:
            request = pb.SetTagRequest(dataset=fresh, tag="stable", manifest=manifest, condition=condition)
            told: pb.SetTagResponse | Refused = client.told("SetTag", request)
            return told

        for condition in (pb.Condition(absent=False), pb.Condition(manifest=one)):
            told = put(one, condition)
            assert isinstance(told, Refused)
            assert told.code is StatusCode.ABORTED
            assert "there is no such tag" in told.details
        assert not isinstance(put(one, pb.Condition(absent=True)), Refused)
        for condition in (pb.Condition(absent=True), pb.Condition(manifest=two)):
            told = put(two, condition)
            assert isinstance(told, Refused)
            assert told.code is StatusCode.ABORTED
            assert one in told.details
        assert tag(client, fresh, "stable").manifest == one
        assert not isinstance(put(two, pb.Condition(manifest=one)), Refused)
        assert not isinstance(put(one, pb.Condition(absent=False)), Refused)
        for condition in (pb.Condition(manifest=two), pb.Condition(absent=True)):
            request = pb.DeleteTagRequest(dataset=fresh, tag="stable", condition=condition)
            assert client.refused("DeleteTag", request).code is StatusCode.ABORTED
        request = pb.DeleteTagRequest(dataset=fresh, tag="stable", condition=pb.Condition(manifest=one))
        assert client.ask("DeleteTag", request) == pb.DeleteTagResponse()


@pytest.mark.parametrize("manifest", ["b3-12", "x", "b3-" + "G" * 64, "1" * 64])
def test_a_condition_by_less_than_a_whole_state_is_refused(served: Serving, fresh: str, manifest: str) -> None:
    request = pb.SetTagRequest(
        dataset=fresh, tag="x", reference=f"{fresh}:1.0.0", condition=pb.Condition(manifest=manifest)
    )
    with served.client("root") as client:
        assert client.refused("SetTag", request).code is StatusCode.INVALID_ARGUMENT


def test_wishes_that_name_no_state_are_refused(served: Serving, fresh: str) -> None:
    with served.client("root") as client:
        for request, code in (
            (pb.SetTagRequest(dataset=fresh, tag="x"), StatusCode.INVALID_ARGUMENT),
            (pb.SetTagRequest(dataset=fresh, tag="x", manifest="1.0.0"), StatusCode.INVALID_ARGUMENT),
            (pb.SetTagRequest(dataset=fresh, tag="x", reference="a b"), StatusCode.INVALID_ARGUMENT),
            (pb.SetTagRequest(dataset=fresh, tag="a b", reference=f"{fresh}:1.0.0"), StatusCode.INVALID_ARGUMENT),
            (pb.SetTagRequest(dataset=fresh, tag="x", manifest="b3-" + "0" * 12), StatusCode.NOT_FOUND),
            (pb.SetTagRequest(dataset=fresh, tag="x", reference="absent:1.0.0"), StatusCode.NOT_FOUND),
            (pb.SetTagRequest(dataset=fresh, tag="1.0.0", reference=f"{fresh}:2.0.0"), StatusCode.ALREADY_EXISTS),
        ):
            assert client.refused("SetTag", request).code is code, request
    with served.client("ada") as ada:  # of a dataset that she may not read
        told = ada.refused("SetTag", pb.SetTagRequest(dataset="maps", tag="x", reference="secret:1.0.0"))
        assert told.code is StatusCode.NOT_FOUND
