"""The REST interface over a store in memory. Every answer is held against what the OpenAPI document says of it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from auth.policy import Policy, parse_policy
from auth.principal import ANONYMOUS, Kind, Principal, user
from auth.tokens import HTTP, parse_rules
from dav.reply import Headers
from gateway.access.audit import Audit
from gateway.access.environ import CSRF, PRINCIPAL, SESSION
from gateway.access.tokens import Tokens
from gateway.config import Settings, load
from gateway.web.api.app import ApiApp
from gateway.web.api.openapi import openapi
from gateway.web.api.routes import ROUTES, match
from store.objects.memory import MemoryStore
from store.repository import Repository
from tests.support.staging import StoreStage
from tests.unit.dav.calls import environ_for

POLICY = """
[[rule]]
allow = ["read", "push", "tag", "delete", "admin"]
to = ["user:root"]
on = ["*"]

[[rule]]
allow = ["read"]
to = ["group:readers"]
on = ["maps", "@geo/*"]

[[rule]]
allow = ["read", "tag", "delete"]
to = ["user:ada"]
on = ["maps", "fresh"]

[[rule]]
allow = ["tag"]
to = ["user:tagger"]
on = ["maps"]

[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["public"]

[[rule]]
deny = ["read"]
to = ["user:bob"]
on = ["@geo/secret"]
"""
DOCUMENT = openapi(ROUTES)
ROOT = user("root")
ADA = user("ada")
BOB = user("bob", frozenset({"readers"}))
TAGGER = user("tagger")
NOBODY = ANONYMOUS
CI = Principal(Kind.TOKEN, "ci", grants=parse_rules(["read,tag:maps", "read:secret"], kind=HTTP), owner=ADA)
ALL = Principal(Kind.TOKEN, "all", grants=parse_rules(["read,push,tag,delete,admin:*"], kind=HTTP))
WRITES = ("POST", "PUT", "DELETE")


class Told(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case; the last of those that come twice
    document: dict[str, Any]


class Policies:
    """A policy that a test may replace."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.refreshed = policy, 0

    def refresh(self) -> bool:
        self.refreshed += 1
        return False


class Api:
    """Asks the interface as the server behind the gate would."""

    def __init__(self, stage: StoreStage, settings: Settings, log: Path) -> None:
        self.stage, self.settings, self._log = stage, settings, log
        self.policies = Policies(parse_policy(POLICY))
        self.tokens = Tokens(stage.objects)
        self._audit = Audit(str(log))
        self.repository = Repository.open(stage.objects)
        self.app = ApiApp(
            self.repository, policies=self.policies, tokens=self.tokens, settings=settings, audit=self._audit
        )

    def close(self) -> None:
        self.tokens.close()
        self._audit.close()

    def raw(
        self, who: Principal, method: str, target: str, body: bytes, headers: Mapping[str, str], **environ: object
    ) -> Told:
        began: list[tuple[str, Headers]] = []
        made = environ_for(method, f"/api/v1{target}", headers, body) | {PRINCIPAL: who, "REMOTE_ADDR": "192.0.2.7"}
        if method in WRITES:
            made["CONTENT_TYPE"] = "application/json"
        made |= environ
        content = b"".join(self.app(made, lambda status, fields: began.append((status, fields))))
        ((status, fields),) = began
        told = Told(int(status[:3]), {name.lower(): value for name, value in fields}, json.loads(content or b"{}"))
        if method != "HEAD":
            check(method, target, told)
        return told

    def __call__(self, who: Principal, method: str, target: str, body: object = None, **headers: str) -> Told:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.raw(who, method, target, b"" if body is None else json.dumps(body).encode(), fields)

    def audited(self) -> list[dict[str, Any]]:
        """Return the audit log since it was last read."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        self._log.write_text("")
        return lines


def check(method: str, target: str, told: Told) -> None:
    """Hold an answer against the document."""
    assert told.headers["cache-control"] == "no-store"
    assert told.headers["x-content-type-options"] == "nosniff"
    names = tuple(part.replace("%2F", "/") for part in target.partition("?")[0].strip("/").split("/"))
    routes, _ = match(names)
    if told.status >= 400:
        assert told.headers["content-type"] == "application/problem+json"
        assert told.document["status"] == told.status
        _valid("Problem", told.document)
    if method not in routes:
        assert told.status in (200, 204, 404, 405)
        return
    route = routes[method]
    answers = DOCUMENT["paths"][route.path][method.lower()]["responses"]
    assert str(told.status) in answers
    schema = route.answers.get(told.status)
    if schema:
        assert told.headers["content-type"] == "application/json"
        _valid(schema, told.document)
    elif told.status < 400:
        assert told.document == {}


def _valid(schema: str, document: dict[str, Any]) -> None:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(document)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the objects of a store with a few datasets, which take longer to publish than most tests do."""
    stage = StoreStage(MemoryStore(), tmp_path_factory.mktemp("published"))
    stage.publish("maps", "1.0.0", {b"a": b"first"})
    stage.publish("maps", "latest", {b"a": b"second"})
    stage.publish("@geo/city", "1.0.0", {b"c": b"city"})
    stage.publish("@geo/secret", "1.0.0", {b"s": b"secret city"})
    stage.publish("secret", "1.0.0", {b"s": b"secret"})
    stage.publish("public", "1.0.0", {b"p": b"public"})
    return {info.key: stage.objects.get(info.key) for info in stage.objects.list("")}


@pytest.fixture
def stage(published: dict[str, bytes], tmp_path: Path) -> StoreStage:
    objects = MemoryStore()
    for key, data in published.items():
        objects.put(key, data)
    return StoreStage(objects, tmp_path)


@pytest.fixture
def api(stage: StoreStage, tmp_path: Path) -> Iterator[Api]:
    settings = load(flags={"auth.policy": "store"}, environ={}, file=None)
    log = tmp_path / "audit.log"
    log.write_text("")
    made = Api(stage, settings, log)
    yield made
    made.close()


@pytest.fixture
def csrf() -> Mapping[str, object]:
    """Return what the gate leaves of a request that came with a session's cookie."""
    return {SESSION: True, CSRF: "word"}
