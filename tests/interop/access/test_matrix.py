"""Every principal asks every surface of every gateway and worker for everything; the table says what comes of it.

Each cell is asked on kept and on fresh connections, and twice in a row, so that what was remembered of an answer has
its turn: who may comes before who may not, and the other way round.
"""

import itertools
import json
import re
import urllib.parse
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from tests.interop.access import table
from tests.interop.access.asking import Answer
from tests.interop.access.table import ABSENT, ACROSS, ACTIONS, DATASETS, PRINCIPALS, QUESTIONS, Action, Who
from tests.interop.access.world import PASSWORDS, Gateway, World, basic, bearer

pytestmark = [pytest.mark.interop, pytest.mark.slow]
NAMES = (*DATASETS, ABSENT["secret"])
FEW = ("public", "secret")  # for those who are let in nowhere
ADA, ROOT = (next(who for who in PRINCIPALS if who.id == name) for name in ("ada", "root"))
TURNS = (0, 1, 0, 1, None)  # workers by their kept connections, each twice, and one more connection


def cells(world: World) -> Iterator[tuple[Gateway, Who]]:
    for gateway in world.gateways:
        for who in PRINCIPALS:
            if who.way != table.CERTIFICATE or gateway.tls:
                yield gateway, who


def everybody(world: World, gateway: Gateway) -> list[Who]:
    return [who for found, who in cells(world) if found is gateway]


def spelled(world: World, action: Action, dataset: str) -> tuple[str, str]:
    state = world.states.get(dataset, world.states["secret"])
    body = action.body.format(d=dataset, s=state) if "{{" in action.body else action.body
    return action.target.format(d=dataset, s=state), body


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: f"{a.surface}-{a.method}-{a.target}-{a.may}")
def test_everybody_gets_what_the_table_says(matrix: World, action: Action) -> None:
    wrong = []
    turns = TURNS[2:] if action.surface == "api" else TURNS  # of what REST answers nothing is kept
    for gateway, (turn, worker) in itertools.product(matrix.gateways, enumerate(turns)):
        asked = everybody(matrix, gateway)[:: 1 if turn % 3 else -1]
        for dataset in NAMES if worker is not None else FEW:
            target, body = spelled(matrix, action, dataset)
            bodies: dict[int, set[bytes]] = {}
            for who in asked:
                if who.good or dataset in FEW:
                    got = matrix.ask(gateway, who, action.method, target, action.headers, body, worker=worker)
                    status = table.wanted(who, action, dataset, there=dataset in DATASETS)
                    if got.status != status:
                        wrong.append((gateway.name, worker, who.id, target, got.status, status))
                    bodies.setdefault(got.status, set()).add(got.body)
            assert all(len(same) == 1 for status, same in bodies.items() if status < 300), (target, bodies)
    assert not wrong


@pytest.mark.parametrize("source", NAMES)
def test_a_state_is_tagged_elsewhere_by_who_may_read_it(matrix: World, source: str) -> None:
    target, body = spelled(matrix, ACROSS, source)
    for (gateway, who), worker in itertools.product(cells(matrix), (0, 1)):
        got = matrix.ask(gateway, who, ACROSS.method, target, ACROSS.headers, body, worker=worker)
        assert got.status == table.wanted_across(who, source), (gateway.name, who.id, got)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: f"{q.method}-{q.target}")
def test_what_belongs_to_no_dataset(matrix: World, question: table.Question) -> None:
    for (gateway, who), worker in itertools.product(cells(matrix), (0, 1, None)):
        status = table.wanted_of(who, question)
        if not status:
            continue
        got = matrix.ask(
            gateway, who, question.method, question.target, question.headers, question.body, worker=worker
        )  # fmt: skip
        assert got.status == status, (gateway.name, who.id, got)
        if question.target == "/api/v1/whoami" and status == 200:
            assert json.loads(got.body)["principal"] == who.says


LISTINGS = {
    "json": ("GET", "/fs/{scope}", table.JSON),
    "page": ("GET", "/fs/{scope}", table.HTML),
    "propfind": ("PROPFIND", "/webdav/{scope}", {"Depth": "1"}),
}


def names_in(kind: str, got: Answer) -> list[str]:
    """Return the names that a listing shows."""
    if kind == "json":
        return sorted(entry["name"] for entry in json.loads(got.body)["entries"])
    if kind == "page":
        found = re.findall(r'<th scope="row"><a href="/fs/([^"?]+)/"', got.body.decode())
    else:
        hrefs = [element.text or "" for element in ElementTree.fromstring(got.body).iter("{DAV:}href")]
        found = [href.removeprefix("/webdav/") for href in hrefs[1:]]
    return sorted(urllib.parse.unquote(one).rstrip("/").rpartition("/")[2] for one in found)


@pytest.mark.parametrize("kind", LISTINGS)
def test_listings_show_what_may_be_read_and_nothing_else(matrix: World, kind: str) -> None:
    method, target, headers = LISTINGS[kind]
    for turn, scope in itertools.product(TURNS, ("", "@geo", "@lab", "@bal")):
        for gateway, who in cells(matrix):
            got = matrix.ask(gateway, who, method, target.format(scope=scope), headers, worker=turn)
            shown = table.scopes(who)
            if not who.good:
                assert got.status == 401
            elif scope not in shown:  # who did not log in is asked to, whether or not there is such a scope
                anonymous = 303 if kind == "page" else 401
                assert got.status == (anonymous if who.way == table.NOTHING else 404), (
                    gateway.name,
                    who.id,
                    scope,
                    got,
                )
            else:
                assert names_in(kind, got) == shown[scope], (gateway.name, who.id, scope, got)


def test_the_list_of_datasets_shows_what_may_be_read(matrix: World) -> None:
    for (gateway, who), worker in itertools.product(cells(matrix), (0, 1)):
        found: list[str] = []
        token = "page_size=2"
        while token and who.good:  # page for page, of which no one is short because something was left out
            got = matrix.ask(gateway, who, "GET", f"/api/v1/datasets?{token}", worker=worker)
            assert got.status == 200, (who.id, got)
            document = json.loads(got.body)
            found += [one["name"] for one in document["datasets"]]
            following = document["next_page_token"]
            assert not following or len(document["datasets"]) == 2
            token = f"page_size=2&page_token={urllib.parse.quote(following)}" if following else ""
        assert sorted(found) == sorted(who.reads)


@pytest.mark.parametrize(("prefix", "method", "fine"), [("/fs", "GET", 200), ("/webdav", "PROPFIND", 207)])
def test_a_state_is_found_in_datasets_that_have_it_alone(matrix: World, prefix: str, method: str, fine: int) -> None:
    ada, root, own, both = ADA, ROOT, own_state(matrix), matrix.states["secret"]
    cases = [
        (root, f"secret/{own}", fine),
        (root, f"twin/{both}", fine),
        (ada, f"twin/{both}", fine),
        (ada, f"secret/{both}", 404),  # though its content is what `twin` shows
        *((who, f"twin/{state}", 404) for who in (root, ada) for state in (own, matrix.states["public"], own[:20])),
    ]
    for gateway, worker, (who, path, status) in itertools.product(matrix.gateways, (0, 1, 0, None), cases):
        got = matrix.ask(gateway, who, method, f"{prefix}/{path}/a.txt", {"Depth": "0"}, worker=worker)
        assert got.status == status, (gateway.name, who.id, path, got)


def test_a_state_is_tagged_by_its_id_where_the_dataset_has_it_alone(matrix: World) -> None:
    fields = {**table.WRITE, "If-Match": table.NEVER}
    own = own_state(matrix)
    for gateway, worker in itertools.product(matrix.gateways, (0, 1)):
        for who, state in ((ADA, own), (ADA, matrix.states["twin"]), (ROOT, own), (ROOT, own[:20])):
            body = json.dumps({"manifest": state})
            got = matrix.ask(gateway, who, "PUT", "/api/v1/datasets/shared/tags/x", fields, body, worker=worker)
            assert got.status == 404, (gateway.name, who.id, got)


def own_state(matrix: World) -> str:
    """Return a state that `secret` alone has."""
    got = matrix.ask(matrix.gateways[0], ROOT, "GET", "/api/v1/datasets/secret/tags/2.0.0")
    return str(json.loads(got.body)["manifest"])


def test_secrets_in_the_wrong_places_are_written_down_nowhere(matrix: World) -> None:
    """What the world's end looks for in all logs: tokens as names, in paths, queries and fields that logs repeat."""
    jwt = matrix.provided("olga", ["staff"])
    for gateway, secret in itertools.product(matrix.gateways, (matrix.tokens["owned"], matrix.tokens["mount"], jwt)):
        lines, quoted = gateway.lines[""], secret.replace("_", "%5F")
        for method, target, fields in (
            ("GET", f"/fs/@token/{secret}/secret/1.0.0/a.txt", {}),
            ("GET", f"/fs/@token/{quoted}/secret/", {}),
            ("GET", f"/fs/@token%2F{secret}/secret/", basic("bob", PASSWORDS["bob"])),
            ("PROPFIND", f"/webdav/{secret}/", basic("bob", PASSWORDS["bob"])),
            ("GET", f"/fs/public/?token={secret}", {}),
            ("GET", f"/api/v1/whoami?access_token={secret}", basic("bob", PASSWORDS["bob"])),
            ("GET", f"/api/v1/tokens/{secret}", basic("root", PASSWORDS["root"])),
            ("GET", f"/api/v1/datasets/{secret}", basic("bob", PASSWORDS["bob"])),
            ("GET", f"/ui/login?next=/fs/?{secret}", table.HTML),
            ("GET", "/fs/public/", {"Referer": f"https://x/?{secret}", "User-Agent": f"x {secret}"}),
            ("GET", "/fs/public/", basic(secret, "")),  # as the user's name
            ("GET", "/fs/public/", basic(secret, "x")),
            ("GET", "/fs/public/", bearer(f"{secret}x")),
            ("GET", "/fs/public/", {"Authorization": secret}),
        ):
            assert lines.ask(method, target, fields).status < 500, (method, target)
        target = f"http://ada:{urllib.parse.quote(PASSWORDS['ada'])}@{lines.netloc}/fs/secret/1.0.0/a.txt"
        assert lines.ask("GET", target, {}).status in (400, 401)
