"""Datasets and tags by REST: what is shown to whom, how tags change, under which conditions."""

import threading
from typing import Any

import pytest

from auth.policy import OPEN
from auth.principal import Principal
from tests.support.staging import StoreStage
from tests.unit.gateway.web.api.conftest import ADA, ALL, BOB, CI, NOBODY, ROOT, TAGGER, Api


def names(api: Api, who: Principal, query: str = "") -> list[str]:
    return [one["name"] for one in api(who, "GET", f"/datasets{query}").document["datasets"]]


def state(api: Api, dataset: str, tag: str) -> str:
    found: str = api(ROOT, "GET", f"/datasets/{dataset}/tags/{tag}").document["manifest"]
    return found


@pytest.mark.parametrize(
    ("who", "readable"),
    [
        (ROOT, {"maps", "@geo/city", "@geo/secret", "secret", "public"}),
        (ADA, {"maps", "public"}),
        (BOB, {"maps", "@geo/city", "public"}),
        (TAGGER, {"public"}),
        (CI, {"maps"}),
        (ALL, {"maps", "@geo/city", "@geo/secret", "secret", "public"}),
        (NOBODY, {"public"}),
    ],
)
def test_the_list_has_what_may_be_read(api: Api, who: Principal, readable: set[str]) -> None:
    assert set(names(api, who)) == readable
    assert len(names(api, who)) == len(readable)


def test_the_list_comes_in_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = names(api, ROOT)
    for few in (1000, 2):  # as in a store with fewer heads, and with more, than one listing takes
        monkeypatch.setattr("store.catalogue.listing.FEW", few)
        assert names(api, ROOT) == whole
        for size in (1, 2, 4, 5, 6):
            found: list[str] = []
            token = ""
            while True:
                page = api(ROOT, "GET", f"/datasets?page_size={size}&page_token={token}").document
                found += [one["name"] for one in page["datasets"]]
                assert len(page["datasets"]) <= size
                token = page["next_page_token"]
                if not token:
                    break
            assert found == whole


def test_a_page_goes_on_behind_a_dataset_that_was_removed(api: Api, stage: StoreStage) -> None:
    whole = names(api, ROOT)
    page = api(ROOT, "GET", "/datasets?page_size=2").document
    stage.catalogue.delete(whole[1])
    stage.catalogue.delete(whole[2])
    rest = api(ROOT, "GET", f"/datasets?page_token={page['next_page_token']}").document
    assert [one["name"] for one in rest["datasets"]] == whole[3:]
    assert api(ROOT, "GET", f"/datasets/{whole[1]}").status == 404


@pytest.mark.parametrize("spelt", ["@geo/city", "@geo%2Fcity", "%40geo%2fcity", "%40geo/city", "@geo/city/"])
def test_a_scoped_name_is_spelt_in_several_ways(api: Api, spelt: str) -> None:
    assert api(BOB, "GET", f"/datasets/{spelt}").document["name"] == "@geo/city"
    assert (
        api(BOB, "GET", "/datasets/@geo%2Fcity/tags/1.0.0").document["href"]
        == "/api/v1/datasets/@geo%2Fcity/tags/1.0.0"
    )


def test_an_href_leads_back(api: Api) -> None:
    for dataset in api(ROOT, "GET", "/datasets").document["datasets"]:
        found = api(ROOT, "GET", dataset["href"].removeprefix("/api/v1")).document
        assert (found["name"], found["href"], found["tags"]) == (
            *dataset.values(),
            2 if dataset["name"] == "maps" else 1,
        )


@pytest.mark.parametrize("below", ["", "/tags", "/tags/1.0.0", "/tags/none"])
@pytest.mark.parametrize(("who", "hidden"), [(BOB, "secret"), (BOB, "@geo/secret"), (TAGGER, "maps"), (CI, "secret")])
def test_what_may_not_be_read_is_answered_as_what_is_not_there(
    api: Api, who: Principal, hidden: str, below: str
) -> None:
    shown = api(who, "GET", f"/datasets/{hidden}{below}")
    absent = api(who, "GET", f"/datasets/{hidden.replace('secret', 'absent').replace('maps', 'abs')}{below}")
    assert shown.status == absent.status == 404
    assert shown.headers.keys() == absent.headers.keys()
    assert shown.document["detail"].replace("secret", "absent").replace("maps", "abs") == absent.document["detail"]


@pytest.mark.parametrize(("method", "body"), [("PUT", {"reference": "secret:1.0.0"}), ("DELETE", None)])
def test_writes_to_what_may_not_be_read_are_answered_as_to_what_is_not_there(api: Api, method: str, body: Any) -> None:
    for dataset in ("secret", "absent"):
        told = api(BOB, method, f"/datasets/{dataset}/tags/1.0.0", body)
        assert told.status == 404
        assert told.document["detail"].startswith(f"no dataset '{dataset}'")


def test_a_source_that_may_not_be_read_is_answered_as_one_that_is_not_there(api: Api) -> None:
    hidden = api(ADA, "PUT", "/datasets/maps/tags/qa", {"reference": "secret:1.0.0"})
    absent = api(ADA, "PUT", "/datasets/maps/tags/qa", {"reference": "absent:1.0.0"})
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.document["detail"].replace("secret", "absent") == absent.document["detail"]
    foreign = state(api, "secret", "1.0.0")
    assert api(ADA, "PUT", "/datasets/maps/tags/qa", {"manifest": foreign}).status == 404
    assert api(ROOT, "GET", "/datasets/maps/tags/qa").status == 404


@pytest.mark.parametrize("who", [BOB, CI])
def test_a_write_that_is_refused_on_what_may_be_read_is_403(api: Api, who: Principal) -> None:
    assert api(who, "DELETE", "/datasets/maps/tags/latest").status == 403
    [line] = [line for line in api.audited() if line["event"] == "denial"]
    assert (line["action"], line["dataset"], line["address"]) == ("delete", "maps", "192.0.2.7")
    assert api(ROOT, "GET", "/datasets/maps/tags/latest").status == 200


def test_who_did_not_log_in_is_asked_to(api: Api) -> None:
    api(ADA, "POST", "/tokens", {"name": "ci", "rules": ["read:*"]})
    for method, target in (
        ("GET", "/datasets/maps"),
        ("GET", "/datasets/absent"),
        ("DELETE", "/datasets/public/tags/1.0.0"),
        ("PUT", "/policy"),
        ("GET", "/tokens"),
        ("GET", "/tokens/ci"),
        ("DELETE", "/tokens/absent"),
        ("POST", "/tokens"),
    ):
        told = api(NOBODY, method, target, {"name": "x", "rules": ["read:*"]} if method == "POST" else None)
        assert told.status == 401, target
        assert "www-authenticate" in told.headers
    assert api(NOBODY, "GET", "/datasets/public/tags/1.0.0").status == 200


def test_tags_come_in_the_order_in_which_they_were_made(api: Api) -> None:
    whole = api(BOB, "GET", "/datasets/maps/tags").document["tags"]
    assert [tag["tag"] for tag in whole] == ["1.0.0", "latest"]
    assert [(tag["kind"], tag["files"], tag["size"]) for tag in whole] == [("version", 1, 5), ("channel", 1, 6)]
    first = api(BOB, "GET", "/datasets/maps/tags?page_size=1").document
    rest = api(BOB, "GET", f"/datasets/maps/tags?page_size=1&page_token={first['next_page_token']}").document
    assert (first["tags"] + rest["tags"], rest["next_page_token"]) == (whole, "")


def test_a_tags_etag_is_the_state_that_it_names(api: Api) -> None:
    told = api(BOB, "GET", "/datasets/maps/tags/latest")
    etag = told.headers["etag"]
    assert etag == f'"{told.document["manifest"]}"'
    assert api(BOB, "GET", "/datasets/maps/tags/latest", If_None_Match=etag).status == 304
    assert api(BOB, "GET", "/datasets/maps/tags/latest", If_None_Match='"b3-0"').status == 200


def test_the_right_to_tag_without_that_to_read_tells_nothing(api: Api) -> None:
    found = []
    for tag in ("latest", "1.0.0", "none"):
        for body in ({"reference": "maps:1.0.0"}, {"reference": "public:1.0.0"}, {"manifest": "b3-" + "0" * 12}):
            told = api(TAGGER, "PUT", f"/datasets/maps/tags/{tag}", body)
            absent = api(TAGGER, "PUT", f"/datasets/span/tags/{tag}", body)
            found.append(told.document)
            assert told.document["detail"].replace("maps", "span") == absent.document["detail"]
    assert all(document["status"] == 404 and document == found[0] for document in found)


@pytest.mark.parametrize("who", [ADA, CI, ROOT])
def test_a_channel_is_made_and_moved(api: Api, who: Principal) -> None:
    old, new = state(api, "maps", "1.0.0"), state(api, "maps", "latest")
    told = api(who, "PUT", "/datasets/maps/tags/qa", {"manifest": old, "message": "why"})
    assert (told.status, told.document["manifest"]) == (201, old)
    assert told.headers["location"] == "/api/v1/datasets/maps/tags/qa"
    told = api(who, "PUT", "/datasets/maps/tags/qa", {"reference": "maps:latest"})
    assert (told.status, told.document["manifest"], told.headers["etag"]) == (200, new, f'"{new}"')
    assert api(who, "PUT", "/datasets/maps/tags/qa", {"manifest": new[:15]}).status == 200
    assert [(line["event"], line["outcome"], line["tag"], line["changed"]) for line in api.audited()] == [
        ("move", "ok", "qa", True), ("move", "ok", "qa", True), ("move", "ok", "qa", False)]  # fmt: skip
    [moved, made] = [entry for entry in api.repository.catalogue.log("maps", "qa")]
    assert (made.by, made.message, moved.op) == (str(who), "why", "tag")


def test_who_may_tag_but_not_read_is_told_nothing(api: Api) -> None:
    for body in ({"reference": "maps:1.0.0"}, {"reference": "maps:none"}, {"manifest": state(api, "maps", "1.0.0")}):
        told = api(TAGGER, "PUT", "/datasets/maps/tags/qa", body)
        assert (told.status, told.document["detail"].partition(";")[0]) == (404, "no dataset 'maps'")


def test_a_version_never_moves(api: Api) -> None:
    told = api(ADA, "PUT", "/datasets/maps/tags/1.0.0", {"reference": "maps:latest"})
    assert told.status == 409
    assert [line["outcome"] for line in api.audited()] == ["refused"]
    assert api(ADA, "PUT", "/datasets/maps/tags/1.0.0", {"reference": "maps:1.0.0"}).status == 200
    assert api(ADA, "PUT", "/datasets/maps/tags/LATEST", {"reference": "maps:1.0.0"}).status == 409


def test_a_state_of_another_dataset_is_tagged_by_who_may_read_it(api: Api) -> None:
    wanted = state(api, "secret", "1.0.0")
    assert api(ROOT, "PUT", "/datasets/maps/tags/copied", {"reference": "secret:1.0.0"}).status == 201
    assert state(api, "maps", "copied") == wanted
    assert api(ADA, "PUT", "/datasets/fresh/tags/1.0.0", {"reference": "maps:1.0.0"}).status == 201
    assert state(api, "fresh", "1.0.0") == state(api, "maps", "1.0.0")


@pytest.mark.parametrize(
    ("tag", "condition", "status"),
    [
        ("new", {"If_None_Match": "*"}, 201),
        ("latest", {"If_None_Match": "*"}, 412),
        ("latest", {"If_Match": "*"}, 200),
        ("new", {"If_Match": "*"}, 412),
        ("latest", {"If_Match": '"b3-' + "0" * 64 + '"'}, 412),
        ("latest", {"If_Match": "LATEST"}, 200),
        ("latest", {"If_Match": "W/LATEST"}, 412),
        ("latest", {"If_Match": '"x", LATEST'}, 200),
        ("latest", {"If_None_Match": "LATEST"}, 412),
        ("latest", {"If_None_Match": '"x"'}, 200),
        ("latest", {"If_Match": "LATEST", "If_None_Match": "*"}, 412),
        ("new", {"If_Match": "garbage"}, 412),
    ],
)
def test_conditions_of_a_write_hold_or_it_is_412(api: Api, tag: str, condition: dict[str, str], status: int) -> None:
    etag = api(ROOT, "GET", "/datasets/maps/tags/latest").headers["etag"]
    headers = {name: value.replace("LATEST", etag) for name, value in condition.items()}
    told = api(ADA, "PUT", f"/datasets/maps/tags/{tag}", {"reference": "maps:1.0.0"}, **headers)
    assert told.status == status
    moved = api(ROOT, "GET", f"/datasets/maps/tags/{tag}")
    assert (moved.status == 200 and moved.document["manifest"] == state(api, "maps", "1.0.0")) == (status < 300)


def test_a_condition_holds_in_the_commit_itself(api: Api, stage: StoreStage, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = api(ROOT, "GET", "/datasets/maps/tags/latest").headers["etag"]
    set_tags = api.repository.catalogue.set_tags

    def late(*arguments: Any, **named: Any) -> Any:
        stage.publish("maps", "latest", {b"a": b"third"})  # somebody is faster, behind our look
        return set_tags(*arguments, **named)

    monkeypatch.setattr(api.repository.catalogue, "set_tags", late)
    told = api(ADA, "PUT", "/datasets/maps/tags/latest", {"reference": "maps:1.0.0"}, If_Match=etag)
    assert told.status == 412
    assert state(api, "maps", "latest") not in (etag.strip('"'), state(api, "maps", "1.0.0"))


def test_of_many_who_make_one_tag_one_does(api: Api) -> None:
    statuses: list[int] = []
    ready = threading.Barrier(6)

    def make(number: int) -> None:
        ready.wait()
        reference = "maps:1.0.0" if number % 2 else "maps:latest"
        told = api(ADA, "PUT", "/datasets/maps/tags/qa", {"reference": reference}, If_None_Match="*")
        statuses.append(told.status)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, *[412] * 5]


def test_a_tag_is_removed(api: Api) -> None:
    etag = api(ROOT, "GET", "/datasets/maps/tags/latest").headers["etag"]
    assert api(ADA, "DELETE", "/datasets/maps/tags/latest", If_Match='"b3-0"').status == 412
    assert api(ADA, "DELETE", "/datasets/maps/tags/latest", If_Match=etag).status == 204
    assert api(ADA, "GET", "/datasets/maps/tags/latest").status == 404
    assert api(ADA, "DELETE", "/datasets/maps/tags/latest").status == 404
    assert api(ADA, "DELETE", "/datasets/maps/tags/1.0.0").status == 204
    assert (
        api(ADA, "PUT", "/datasets/maps/tags/1.0.0", {"manifest": etag.strip('"')}).status == 409
    )  # its name stays its own
    assert [line["event"] for line in api.audited() if line["outcome"] == "ok"] == ["delete", "delete"]


def test_a_tag_that_moved_meanwhile_is_not_removed(
    api: Api, stage: StoreStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = api(ROOT, "GET", "/datasets/maps/tags/latest").headers["etag"]
    untag = api.repository.catalogue.untag

    def late(*arguments: Any, **named: Any) -> Any:
        stage.publish("maps", "latest", {b"a": b"third"})
        return untag(*arguments, **named)

    monkeypatch.setattr(api.repository.catalogue, "untag", late)
    assert api(ADA, "DELETE", "/datasets/maps/tags/latest", If_Match=etag).status == 412
    assert api(ADA, "GET", "/datasets/maps/tags/latest").status == 200
    assert api(ADA, "DELETE", "/datasets/maps/tags/latest").status == 204


@pytest.mark.parametrize("tag", ["b3-000000000000", "a%2Fb", "..", "%2e%2e", "a b", "x" * 200, "%00", "B3-abc"])
def test_what_is_no_tag_is_400(api: Api, tag: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        body = {"reference": "maps:1.0.0"} if method == "PUT" else None
        assert api(ROOT, method, f"/datasets/maps/tags/{tag.replace(' ', '%20')}", body).status == 400


def test_without_login_everybody_may_do_everything(api: Api) -> None:
    api.policies.policy = OPEN
    assert set(names(api, NOBODY)) == {"maps", "@geo/city", "@geo/secret", "secret", "public"}
    assert api(NOBODY, "PUT", "/datasets/maps/tags/qa", {"reference": "secret:1.0.0"}).status == 201
    assert api(NOBODY, "DELETE", "/datasets/maps/tags/qa").status == 204
    assert api(NOBODY, "GET", "/whoami").document["rules"] == ["read,push,tag,delete,admin:*"]
