"""Any path, query, header and body to the REST interface: an answer or a problem, never a 500 nor what is hidden."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.policy import parse_policy
from auth.principal import Principal, user
from auth.tokens import HTTP, parse_rules
from gateway.access.environ import PRINCIPAL
from gateway.access.tokens import Tokens
from gateway.config import load
from gateway.web.api.app import ApiApp
from store.objects.memory import MemoryStore
from store.repository import Repository
from tests.support.staging import StoreStage
from tests.unit.gateway.web.api.conftest import ADA, BOB, CI, POLICY, ROOT, Policies

WORDS = st.sampled_from(
    ["datasets", "maps", "@geo", "city", "@geo/city", "secret", "tags", "1.0.0", "latest", "tokens", "ci", "policy",
     "whoami", "login", "..", "%2e%2e", "%2F", "%00", "%ff", "@", "openapi.json", "b3-" + "0" * 12]
)  # fmt: skip
PATHS = st.lists(WORDS | st.text(max_size=6).map(lambda text: quote(text, safe="")), max_size=6).map("/".join)
QUERIES = st.text(alphabet="pagetoknsiz_=&%0123456789Aw+", max_size=40) | st.just("page_size=3")
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND"])
TAGS = st.sampled_from(['"b3-' + "0" * 64 + '"', "*", "W/", '"', ",,", '"x", "y"']) | st.text(max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12)
    | st.sampled_from(["maps:1.0.0", "secret:1.0.0", "maps@^1", "read:*", "read,push:maps", "30d", "nfs", POLICY]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from(["manifest", "reference", "message", "name", "rules", "expires", "kind", "policy"])
BODIES = st.binary(max_size=60) | st.dictionaries(KEYS, VALUES, max_size=4).map(
    lambda value: json.dumps(value).encode()
)
CALLERS = st.sampled_from([ADA, BOB, CI, user("nobody")])


class Made:
    """The interface over a store with a dataset that root alone may read."""

    def __init__(self, work: Path) -> None:
        stage = StoreStage(MemoryStore(), work)
        for dataset in ("maps", "@geo/city", "secret"):
            stage.publish(dataset, "1.0.0", {b"a": dataset.encode()})
        self.hidden = stage.catalogue.resolve("secret:1.0.0").manifest.encode()
        self.tokens = Tokens(stage.objects)
        self.tokens.create("ci", parse_rules(["read:*"], kind=HTTP), owner=ADA)
        self.app = ApiApp(
            Repository.open(stage.objects), policies=Policies(parse_policy(POLICY)), tokens=self.tokens,
            settings=load(flags={"auth.policy": "store"}, environ={}, file=None),
        )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    found = Made(tmp_path_factory.mktemp("work"))
    yield found
    found.tokens.close()


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Return another one, in which root may change anything."""
    found = Made(tmp_path_factory.mktemp("work"))
    yield found
    found.tokens.close()


@pytest.fixture(scope="module")
def app(made: Made) -> ApiApp:
    return made.app


def ask(app: ApiApp, who: Principal, method: str, target: str, body: bytes, **more: str) -> tuple[int, bytes]:
    environ = {
        "REQUEST_METHOD": method, "REQUEST_URI": target, "QUERY_STRING": target.partition("?")[2], PRINCIPAL: who,
        "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", **more,
    }  # fmt: skip
    began: list[tuple[str, list[tuple[str, str]]]] = []
    content = b"".join(app(environ, lambda status, fields: began.append((status, fields))))
    ((status, fields),) = began
    for name, value in fields:
        assert value.isprintable(), name
    kind = dict(fields).get("Content-Type", "")
    if content:
        document = json.loads(content)
        assert (kind == "application/problem+json") == (int(status[:3]) >= 400)
        assert int(status[:3]) < 400 or document["status"] == int(status[:3])
    return int(status[:3]), content


@given(who=CALLERS, method=METHODS, path=PATHS, query=QUERIES, body=BODIES, match=TAGS, none_match=TAGS)
def test_any_request_is_answered_and_shows_nothing_hidden(
    made: Made, who: Principal, method: str, path: str, query: str, body: bytes, match: str, none_match: str
) -> None:
    more = {"HTTP_IF_MATCH": match} if match else {}
    more |= {"HTTP_IF_NONE_MATCH": none_match} if none_match else {}
    status, content = ask(made.app, who, method, f"/api/v1/{path}?{query}", body, **more)
    assert status < 500
    assert made.hidden not in content


@given(method=METHODS, path=PATHS, query=QUERIES, body=BODIES)
def test_any_request_of_the_administrators_is_answered(
    roots: Made, method: str, path: str, query: str, body: bytes
) -> None:
    assert ask(roots.app, ROOT, method, f"/api/v1/{path}?{query}", body)[0] < 500


@given(path=PATHS, query=QUERIES, body=BODIES, method=METHODS)
def test_a_hidden_dataset_is_answered_as_one_that_is_not_there(
    app: ApiApp, path: str, query: str, body: bytes, method: str
) -> None:
    if "secret" in query or b"secret" in body:
        return
    for below in ("", f"/{path}"):
        shown, absent = (
            ask(app, BOB, method, f"/api/v1/datasets/{name}{below}?{query}", body) for name in ("secret", "absent")
        )
        assert shown[0] == absent[0]
        assert shown[1].replace(b"secret", b"absent") == absent[1].replace(b"secret", b"absent")


@given(
    st.sampled_from(["/tokens", "/policy", "/datasets/maps/tags/qa"]), BODIES, st.binary(max_size=4), st.integers(0, 80)
)
def test_any_body_is_taken_or_refused(app: ApiApp, target: str, body: bytes, patch: bytes, at: int) -> None:
    damaged = body[:at] + patch + body[at:]
    method = "POST" if target == "/tokens" else "PUT"
    for data in (body, damaged):
        assert ask(app, ADA, method, f"/api/v1{target}", data)[0] in (200, 201, 400, 403, 404, 409, 422, 428)
