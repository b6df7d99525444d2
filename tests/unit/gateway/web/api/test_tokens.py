"""Tokens and the policy by REST: who makes, sees and revokes which, and what the audit log says of it."""

import json
from typing import Any

import pytest

from auth.policy import OPEN
from auth.principal import user
from auth.tokens import HTTP, parse_rules
from gateway.access import token_objects
from gateway.access.audit import LOGIN
from gateway.access.policy_object import write_policy
from gateway.config import load
from gateway.web.api.app import ApiApp
from tests.unit.gateway.web.api.conftest import ADA, ALL, BOB, CI, NOBODY, POLICY, ROOT, Api

WISH = {"name": "ci", "rules": ["read,push:maps", "read:@geo/*"], "expires": "30d"}


def test_a_token_is_made_shown_once_and_good(api: Api) -> None:
    told = api(ADA, "POST", "/tokens", WISH)
    made = told.document
    assert (told.status, told.headers["location"]) == (201, "/api/v1/tokens/ci")
    assert (made["owner"], made["kind"], made["rules"], made["state"]) == ("user:ada", "http", WISH["rules"], "good")
    principal = api.tokens.check(made["token"])
    assert principal.owner == ADA
    for target in ("/tokens", "/tokens/ci"):
        assert made["token"] not in json.dumps(api(ADA, "GET", target).document)
    secret = made["token"].rpartition("_")[2]
    [line] = api.audited()
    assert (line["event"], line["change"], line["token"], line["outcome"]) == ("token", "created", "ci", "ok")
    assert secret not in json.dumps(line)


def test_a_token_never_may_more_than_who_made_it(api: Api) -> None:
    from auth.principal import Action

    made = api(BOB, "POST", "/tokens", {"name": "wide", "rules": ["read,push,tag,delete,admin:*"]}).document
    token = api.tokens.check(made["token"])
    policy = api.policies.policy
    assert policy.allows(token, Action.READ, "maps")
    assert not policy.allows(token, Action.READ, "@geo/secret")
    assert not policy.allows(token, Action.ADMIN, "*")
    assert api(token, "GET", "/policy").status == 403


def test_a_user_has_a_bounded_number_of_tokens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_objects, "MOST_OF_ONE", 2)
    for name in ("one", "two"):
        assert api(ADA, "POST", "/tokens", WISH | {"name": name}).status == 201
    told = api(ADA, "POST", "/tokens", WISH)
    assert (told.status, "revoke one" in told.document["detail"]) == (403, True)
    assert api(BOB, "POST", "/tokens", WISH).status == 201
    assert api(ADA, "DELETE", "/tokens/one").status == 204
    assert api(ADA, "POST", "/tokens", WISH | {"name": "three"}).status == 201


def test_a_token_for_nfs_is_made(api: Api) -> None:
    made = api(ADA, "POST", "/tokens", {"name": "lab", "rules": ["read:maps"], "kind": "nfs"}).document
    assert api.tokens.check(made["token"], nfs=True).name == "lab"
    assert api(ADA, "POST", "/tokens", {"name": "x", "rules": ["push:maps"], "kind": "nfs"}).status == 422


@pytest.mark.parametrize(
    "wish",
    [{}, {"name": "a"}, {"rules": ["read:*"]}, {"name": "a/b", "rules": ["read:*"]}, {"name": 1, "rules": ["read:*"]},
     {"name": "a", "rules": "read:*"}, {"name": "a", "rules": []}, {"name": "a", "rules": [1]},
     {"name": "a", "rules": ["eat:*"]}, {"name": "a", "rules": ["read:*"] * 65},
     {"name": "a", "rules": ["read:*"], "x": 1},
     {"name": "a", "rules": ["read:*"], "expires": "soon"}, {"name": "a", "rules": ["read:*"], "expires": 7},
     {"name": "a", "rules": ["read:*"], "kind": "ftp"}, {"name": "", "rules": ["read:*"]}],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_422(api: Api, wish: dict[str, object]) -> None:
    assert api(ADA, "POST", "/tokens", wish).status == 422
    assert api(ROOT, "GET", "/tokens").document["tokens"] == []


def test_tokens_make_no_tokens(api: Api) -> None:
    for who in (CI, ALL):
        assert api(who, "POST", "/tokens", WISH).status == 403
        [line] = api.audited()
        assert (line["event"], line["outcome"], line["principal"]) == ("denial", "refused", str(who))
        assert line["dataset"] == "*"  # it belongs to none


def test_who_did_not_log_in_makes_none_even_where_all_is_open(api: Api) -> None:
    api.policies.policy = OPEN
    assert api(NOBODY, "POST", "/tokens", WISH).status == 401
    assert api(NOBODY, "GET", "/tokens").document["tokens"] == []


def test_a_name_is_taken_by_whomever(api: Api) -> None:
    assert api(ADA, "POST", "/tokens", WISH).status == 201
    assert api(BOB, "POST", "/tokens", WISH).status == 409
    assert api(ADA, "DELETE", "/tokens/ci").status == 204
    assert api(BOB, "POST", "/tokens", WISH).status == 201


def test_everybody_sees_their_own_and_the_administrator_all(api: Api) -> None:
    api(ADA, "POST", "/tokens", WISH | {"name": "of-ada"})
    api(BOB, "POST", "/tokens", WISH | {"name": "of-bob"})
    api.tokens.create("of-store", parse_rules(["read:*"], kind=HTTP))
    seen = {
        str(who): {one["name"] for one in api(who, "GET", "/tokens").document["tokens"]}
        for who in (ADA, BOB, ROOT, CI, ALL)
    }
    everything = {"of-ada", "of-bob", "of-store"}
    assert seen == {
        "user:ada": {"of-ada"}, "user:bob": {"of-bob"}, "user:root": everything, "token:ci": set(),
        "token:all": everything,
    }  # fmt: skip


def test_tokens_come_in_pages(api: Api) -> None:
    for number in range(7):
        api(ADA if number % 2 else BOB, "POST", "/tokens", WISH | {"name": f"t{number}"})
    for who, count in ((ROOT, 7), (ADA, 3), (BOB, 4)):
        whole = [one["name"] for one in api(who, "GET", "/tokens").document["tokens"]]
        assert len(whole) == count
        found, token = [], ""
        while True:
            page = api(who, "GET", f"/tokens?page_size=2&page_token={token}").document
            found += [one["name"] for one in page["tokens"]]
            token = page["next_page_token"]
            if not token:
                break
        assert found == whole


def test_a_token_of_others_is_answered_as_one_that_is_not_there(api: Api) -> None:
    api(ADA, "POST", "/tokens", WISH)
    for method in ("GET", "DELETE"):
        others, absent = api(BOB, method, "/tokens/ci"), api(BOB, method, "/tokens/cj")
        assert (others.status, absent.status) == (404, 404)
        assert others.document["detail"].replace("'ci'", "'cj'") == absent.document["detail"]
    assert api(ADA, "GET", "/tokens/ci").document["state"] == "good"


def test_a_token_sees_and_revokes_itself_and_not_its_successor(api: Api) -> None:
    first = api.tokens.check(api(ADA, "POST", "/tokens", WISH).document["token"])
    api(ADA, "POST", "/tokens", WISH | {"name": "other"})
    assert [one["name"] for one in api(first, "GET", "/tokens").document["tokens"]] == ["ci"]
    assert api(first, "DELETE", "/tokens/other").status == 404
    assert api(first, "DELETE", "/tokens/ci").status == 204
    api(BOB, "POST", "/tokens", WISH)
    assert api(first, "DELETE", "/tokens/ci").status == 404  # another gateway may not know yet that it is revoked
    assert api(BOB, "GET", "/tokens/ci").document["state"] == "good"


def test_a_user_of_the_same_name_as_a_token_is_not_its_owner(api: Api) -> None:
    api(ADA, "POST", "/tokens", WISH)
    from dataclasses import replace

    assert api(replace(CI, name="ada"), "GET", "/tokens/ci").status == 404
    assert api(user("ADA"), "GET", "/tokens/ci").status == 404


@pytest.mark.parametrize("who", [ADA, ROOT])
def test_a_revoked_token_is_good_for_nothing(api: Api, who: object) -> None:
    from auth.errors import BadCredentials

    made = api(ADA, "POST", "/tokens", WISH).document
    api.tokens.check(made["token"])
    api.audited()
    assert api(ADA if who is ADA else ROOT, "DELETE", "/tokens/ci").status == 204
    with pytest.raises(BadCredentials):
        api.tokens.check(made["token"])
    assert api(ADA, "GET", "/tokens/ci").document["state"] == "revoked"
    [line] = api.audited()
    assert (line["event"], line["change"], line["id"]) == ("token", "revoked", made["id"])
    assert line["event"] != LOGIN


def test_the_policy_is_replaced_by_compare_and_set(api: Api) -> None:
    first = api(ROOT, "GET", "/policy")
    assert (first.document["policy"], "etag" in first.headers) == ("", False)
    assert api(ROOT, "PUT", "/policy", {"policy": POLICY}).status == 428
    assert api(ROOT, "PUT", "/policy", {"policy": POLICY}, If_Match='"x"').status == 412
    made = api(ROOT, "PUT", "/policy", {"policy": POLICY}, If_None_Match="*")
    assert (made.status, made.document["by"], api.policies.refreshed) == (200, "user:root", 1)
    read = api(ROOT, "GET", "/policy")
    etag = read.headers["etag"]
    assert (read.document["policy"], etag) == (POLICY, made.headers["etag"])
    assert api(ROOT, "GET", "/policy", If_None_Match=etag).status == 304
    assert api(ROOT, "PUT", "/policy", {"policy": POLICY}, If_None_Match="*").status == 412
    write_policy(api.stage.objects, POLICY + "\n# other\n", by="other")
    assert api(ROOT, "PUT", "/policy", {"policy": ""}, If_Match=etag).status == 412
    assert api(ROOT, "GET", "/policy").document["by"] == "other"
    assert [line["event"] for line in api.audited() if line["outcome"] == "ok"] == ["policy"]


def test_a_policy_that_changed_meanwhile_stays(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = api(ROOT, "PUT", "/policy", {"policy": POLICY}, If_None_Match="*").headers["etag"]

    def late(*arguments: Any, **named: Any) -> Any:
        write_policy(api.stage.objects, "# theirs", by="other")
        return write_policy(*arguments, **named)

    monkeypatch.setattr("gateway.web.api.access.write_policy", late)
    assert api(ROOT, "PUT", "/policy", {"policy": "# ours"}, If_Match=etag).status == 412
    assert api(ROOT, "GET", "/policy").document["policy"] == "# theirs"


def test_a_policy_that_cannot_be_used_is_refused_with_its_line(api: Api) -> None:
    api(ROOT, "PUT", "/policy", {"policy": POLICY}, If_None_Match="*")
    etag = api(ROOT, "GET", "/policy").headers["etag"]
    for text, line in (("x = 1", 1), ('\n\n[[rule]]\nallow = ["eat"]\nto = ["anonymous"]\non = ["*"]', 4), ("a\n=", 1)):
        told = api(ROOT, "PUT", "/policy", {"policy": text}, If_Match=etag)
        assert (told.status, told.document["line"]) == (422, line)
    assert api(ROOT, "PUT", "/policy", {"policy": 7}, If_Match=etag).status == 422
    assert api(ROOT, "PUT", "/policy", {}, If_Match=etag).status == 422
    assert api(ROOT, "GET", "/policy").document["policy"] == POLICY


@pytest.mark.parametrize("who", [ADA, BOB, CI])
def test_the_policy_is_the_administrators(api: Api, who: object) -> None:
    asks = next(one for one in (ADA, BOB, CI) if one is who)
    assert api(asks, "GET", "/policy").status == 403
    assert api(asks, "PUT", "/policy", {"policy": ""}, If_None_Match="*").status == 403
    assert {line["outcome"] for line in api.audited()} == {"refused"}


def test_a_policy_in_a_file_is_not_to_be_had_here(api: Api) -> None:

    settings = load(flags={"auth.policy": "/etc/policy.toml"}, environ={}, file=None)
    api.app = ApiApp(api.repository, policies=api.policies, tokens=api.tokens, settings=settings)
    assert api(ROOT, "GET", "/policy").status == 404
    assert api(ROOT, "PUT", "/policy", {"policy": ""}, If_None_Match="*").status == 404


def test_where_nobody_logs_in_there_is_nobody_whose_token_it_could_be(api: Api) -> None:
    settings = load(flags={}, environ={}, file=None)
    api.app = ApiApp(api.repository, policies=api.policies, tokens=api.tokens, settings=settings)
    answer = api(NOBODY, "POST", "/tokens", {"name": "ci", "rules": ["read:*"]})
    assert answer.status == 403  # and not 401: there is no login that would help
    assert "--store" in answer.document["detail"]
