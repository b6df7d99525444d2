"""The REST interface as such: paths, methods, bodies, problems, its document; who asks, and how to log in."""

import json
from collections.abc import Mapping

import pytest
from openapi_spec_validator import validate

from auth.policy import OPEN
from auth.principal import Principal
from gateway.config import load
from gateway.web.api.app import ApiApp
from gateway.web.api.call import LARGEST_BODY
from gateway.web.api.routes import ROUTES
from store.errors import StoreUnavailable
from tests.unit.dav.calls import environ_for
from tests.unit.gateway.web.api.conftest import ADA, ALL, BOB, CI, DOCUMENT, NOBODY, ROOT, TAGGER, Api

TAG = "/datasets/maps/tags/qa"


def test_the_document_is_valid_and_has_every_row_of_the_table(api: Api) -> None:
    told = api(NOBODY, "GET", "/openapi.json")
    validate(told.document)
    assert told.document == json.loads(json.dumps(DOCUMENT))
    rows = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert rows == {(route.path, route.method.lower()) for route in ROUTES}
    assert api(NOBODY, "POST", "/openapi.json").status == 405


@pytest.mark.parametrize(
    "target", ["", "/", "/nothing", "/datasets/maps/nothing", "/datasets/maps/tags/qa/more", "/tokens/a/b", "/whoami/x",
               "/%ff", "/datasets/a/b/c/d", "/openapi.json/x", "/policy/%2e%2e"],
)  # fmt: skip
def test_a_path_that_is_none_is_404(api: Api, target: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert api(ROOT, method, target).status == 404


def test_another_method_is_405_and_names_those_there_are(api: Api) -> None:
    told = api(ROOT, "PATCH", "/tokens")
    assert (told.status, told.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    told = api(ROOT, "OPTIONS", TAG)
    assert (told.status, told.headers["allow"]) == (204, "GET, PUT, DELETE, HEAD, OPTIONS")


def test_head_is_as_get_without_a_body(api: Api) -> None:
    told = api(ROOT, "HEAD", "/datasets/maps/tags/latest")
    assert (told.status, told.document) == (200, {})
    assert told.headers["etag"] == api(ROOT, "GET", "/datasets/maps/tags/latest").headers["etag"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"7", 400), (b"null", 400), (b"\xff\xfe", 400), (b'{"a":1}', 422),
     (b'{"manifest":1}', 422), (b'{"manifest":"b3-00","manifest":"b3-00"}', 400), (b'{"manifest":NaN}', 400),
     (b'{"message":"x"}', 422), (b'{"manifest":"b3-000000000000","reference":"maps"}', 422), (b"[" * 60_000, 400),
     (b'{"manifest":"000000000000"}', 422), (b'{"manifest":"b3-xyz"}', 400), (b'{"manifest":"b3-000000000000"}', 404),
     (b'{"reference":"maps:none"}', 404), (b'{"reference":"a b"}', 400), (b'{"reference":""}', 400),
     (b'{"reference":"maps:1.0.0","message":"' + b"m" * 5000 + b'"}', 400), (b"{" + b" " * LARGEST_BODY + b"}", 413)],
)  # fmt: skip
def test_a_body_that_makes_no_sense_is_told_so(api: Api, body: bytes, status: int) -> None:
    assert api.raw(ROOT, "PUT", TAG, body, {}).status == status
    assert api(ROOT, "GET", TAG).status == 404


def test_a_body_in_chunks_has_the_same_bound(api: Api) -> None:
    for size, status in ((LARGEST_BODY + 1, 413), (100, 400)):
        told = api.raw(ROOT, "PUT", TAG, b" " * size, {"Transfer-Encoding": "chunked"}, CONTENT_LENGTH="")
        assert told.status == status


def test_who_waits_to_be_asked_for_a_body_is_told_to_send_it(api: Api) -> None:
    assert api(ROOT, "PUT", TAG, {"reference": "maps:1.0.0"}, Expect="100-continue").status == 417


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", TAG),
        ("DELETE", "/datasets/maps/tags/latest"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/ci"),
        ("PUT", "/policy"),
    ],
)
def test_what_a_form_of_another_site_can_send_is_refused(api: Api, method: str, target: str, kind: str) -> None:
    told = api.raw(ROOT, method, target, b'{"reference":"maps:1.0.0"}', {}, CONTENT_TYPE=kind)
    assert told.status == 415
    [line] = api.audited()
    assert (line["event"], line["outcome"], line["principal"]) == ("denial", "refused", "user:root")


def test_what_has_no_body_needs_no_type_where_no_form_can_send_it(api: Api) -> None:
    api(ROOT, "POST", "/tokens", {"name": "ci", "rules": ["read:maps"]})
    assert api.raw(ROOT, "DELETE", "/tokens/ci", b"", {}, CONTENT_TYPE="").status == 204
    assert api.raw(ROOT, "POST", "/tokens", b"", {}, CONTENT_TYPE="").status == 415
    assert api.raw(ROOT, "DELETE", "/tokens/ci", b"", {"Transfer-Encoding": "chunked"}, CONTENT_TYPE="").status == 415


@pytest.mark.parametrize("word", [None, "", "wrong", "word "])
def test_a_session_writes_only_with_its_word(api: Api, csrf: Mapping[str, object], word: str | None) -> None:
    headers = {} if word is None else {"X-AetherFS-CSRF": word}
    body = b'{"reference":"maps:1.0.0"}'
    assert api.raw(ROOT, "PUT", TAG, body, headers, **csrf).status == 403
    assert api(ROOT, "GET", TAG).status == 404
    assert api.raw(ROOT, "PUT", TAG, body, {"X-AetherFS-CSRF": "word"}, **csrf).status == 201
    assert api.raw(ROOT, "GET", TAG, b"", {}, **csrf).status == 200


def test_a_session_without_a_word_of_its_own_never_writes(api: Api, csrf: Mapping[str, object]) -> None:
    empty = {**csrf, "aetherfs.csrf": ""}
    assert api.raw(ROOT, "DELETE", TAG, b"", {"X-AetherFS-CSRF": ""}, **empty).status == 403


@pytest.mark.parametrize(
    ("host", "taken"),
    [("127.0.0.1:8080", True), ("localhost:8080", True), ("LOCALHOST", True), ("[::1]:8080", True), ("192.0.2.7", True),
     ("data.example.org:8080", True), ("evil.example.org", False), ("127.0.0.1.evil.example.org:8080", False),
     ("localhost.evil.example.org", False), ("", False), ("[::1].evil.example.org", False), ("evil@127.0.0.1", False)],
)  # fmt: skip
def test_without_login_a_page_that_has_taken_over_a_name_changes_nothing(api: Api, host: str, taken: bool) -> None:
    api.policies.policy = OPEN
    settings = load(flags={"http.public_url": "https://Data.example.org"}, environ={}, file=None)
    api.app = ApiApp(api.repository, policies=api.policies, tokens=api.tokens, settings=settings)
    told = api(NOBODY, "PUT", TAG, {"reference": "maps:1.0.0"}, Host=host)
    assert told.status == (201 if taken else 403)
    assert api(NOBODY, "GET", TAG, Host=host).status == (200 if taken else 404)


def test_with_login_any_name_will_do(api: Api) -> None:
    assert api(ROOT, "PUT", TAG, {"reference": "maps:1.0.0"}, Host="proxied.example.org").status == 201


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=-1", "page_size=x", "page_size=1&page_size=2", "page_token=!", "page_token=_",
              "page_token=w6Q=", "other=1", "page_token=Li4vLi4=", "x" * 5000, "&".join(f"a{n}=1" for n in range(20)),
              "page_size=%FF", "page_size=٣"],
)  # fmt: skip
@pytest.mark.parametrize("target", ["/datasets", "/tokens", "/datasets/maps/tags"])
def test_a_query_that_makes_no_sense_is_400(api: Api, target: str, query: str) -> None:
    assert api(ROOT, "GET", f"{target}?{query}").status == 400


def test_a_store_that_is_away_is_503_and_says_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("s3://secret-bucket", "it is away")

    monkeypatch.setattr(api.stage.objects, "fetch", away)
    monkeypatch.setattr(api.stage.objects, "list", away)
    for target in ("/datasets", "/datasets/maps", "/datasets/maps/tags/latest", "/tokens", "/policy"):
        told = api(ROOT, "GET", target)
        assert (told.status, told.headers["retry-after"]) == (503, "5")
        assert "secret-bucket" not in json.dumps(told.document)


def test_what_nobody_expected_is_a_bare_500(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("hidden detail")

    monkeypatch.setattr(api.repository.catalogue, "head", broken)
    told = api(ROOT, "GET", "/datasets/maps")
    assert (told.status, told.document["title"]) == (500, "Internal Server Error")
    assert "hidden" not in json.dumps(told.document)
    assert told.headers["x-request-id"] in told.document["detail"]


@pytest.mark.parametrize(
    ("who", "kind", "rules", "admin"),
    [
        (ROOT, "user", ["read,push,tag,delete,admin:*", "read:public"], True),
        (BOB, "user", ["read:maps", "read:@geo/*", "read:public"], False),
        (ADA, "user", ["read,tag,delete:maps", "read,tag,delete:fresh", "read:public"], False),
        (NOBODY, "anonymous", ["read:public"], False),
        (CI, "token", ["read,tag:maps", "read:secret"], False),
        (ALL, "token", ["read,push,tag,delete,admin:*"], True),
    ],
)
def test_everybody_is_told_who_they_are(api: Api, who: Principal, kind: str, rules: list[str], admin: bool) -> None:
    found = api(who, "GET", "/whoami").document
    assert found["principal"] == str(who)
    assert (found["kind"], found["rules"], found["admin"], found["login"]) == (kind, rules, admin, True)
    assert found["groups"] == sorted(who.groups)
    assert found["owner"] == (None if who.owner is None else str(who.owner))


def test_ways_to_log_in_are_told_to_everybody(api: Api) -> None:
    flags = {
        "auth.oidc.issuer": "https://id.example.org", "auth.oidc.client_id": "aetherfs",
        "auth.oidc.client_secret_file": "/secret/file", "auth.basic.htpasswd": "/etc/users",
    }  # fmt: skip
    full = ApiApp(
        api.repository, policies=api.policies, tokens=api.tokens, settings=load(flags=flags, environ={}, file=None)
    )
    plain = api(NOBODY, "GET", "/login").document
    assert plain == {"login": True, "basic": False, "token": True, "certificate": False, "oidc": None}
    api.app = full
    found = api(NOBODY, "GET", "/login").document
    assert found["oidc"] == {
        "issuer": "https://id.example.org", "client_id": "aetherfs", "audience": "aetherfs",
        "scopes": ["openid", "profile", "email", "offline_access"],
    }  # fmt: skip
    assert (found["basic"], "/" not in json.dumps(found).replace("https://", "")) == (True, True)


def test_markup_in_an_answer_is_escaped(api: Api) -> None:
    began: list[object] = []
    told = api(TAGGER, "GET", "/datasets/%3Cscript%3E")
    assert "<script>" in told.document["detail"]
    body = b"".join(api.app(environ_for("GET", "/api/v1/datasets/%3Cscript%3E", {}, b""), lambda *a: began.append(a)))
    assert b"<" not in body
