"""What may not be read is answered, byte for byte, as what is not there; and it coming or going changes no answer."""

import itertools
from collections.abc import Iterator

import pytest

from tests.interop.access import table
from tests.interop.access.asking import Answer
from tests.interop.access.table import ABSENT, PRINCIPALS, Who
from tests.interop.access.test_matrix import cells
from tests.interop.access.world import Gateway, World

pytestmark = [pytest.mark.interop, pytest.mark.slow]
LETTER = "aeiou"

# What is asked of both: method, target with {d}, header, body. {q}: the name with its slash escaped, {C}: another case.
PATHS = (
    "{d}", "{d}/", "{q}", "{q}/", "{d}/1.0.0", "{d}/1.0.0/", "{d}/latest/a.txt", "{d}/1.0.0/a.txt", "{d}/1.0.0/a.txt/",
    "{d}/1.0.0/none", "{d}/9.9.9/a.txt", "{d}/{s}", "{d}/{s}/a.txt", "{d}/{short}/a.txt", "{d}/b3-", "{q}/1.0.0/a.txt",
    "{d}//1.0.0//a.txt", "{d}/1.0.0%2Fa.txt", "{d}%2F1.0.0/a.txt", "{d}/../{d}/1.0.0/a.txt",
    "public/../{d}/1.0.0/a.txt",
    "public/%2e%2e/{d}/1.0.0/a.txt", "./{d}/1.0.0/a.txt", "{d}/1.0.0/sub/../a.txt", "{C}/1.0.0/a.txt", "{d}%00/1.0.0",
    "{d}/1.0.0/sub/?archive=zip", "{d}/latest?archive=tar", "{d}?archive=zip", "{d}/?sort=time&order=desc&after=x",
    "{d}/1.0.0/._a.txt", "{d}/.DS_Store", "{d}/Desktop.ini", "{d}.", "{d}%20", "{e}/1.0.0/a.txt",
)  # fmt: skip


def requests() -> Iterator[tuple[str, str, dict[str, str], str]]:
    for path in PATHS:
        yield "GET", f"/fs/{path}", {}, ""
        yield "PROPFIND", f"/webdav/{path}", {"Depth": "1"}, ""
    for path in PATHS[:13]:
        yield "HEAD", f"/fs/{path}", {}, ""
        yield "GET", f"/fs/{path}", table.HTML, ""
        yield "GET", f"/fs/{path}", {**table.JSON, "If-None-Match": "*", "Range": "bytes=0-0"}, ""
        yield "GET", f"/webdav/{path}", {}, ""
        yield "PROPFIND", f"/webdav/{path}", {}, ""
        yield "OPTIONS", f"/webdav/{path}", {}, ""
        yield "MOVE", f"/webdav/{path}", {"Destination": "/webdav/public/x"}, ""
        yield "LOCK", f"/webdav/{path}", {}, ""
        yield "PROPPATCH", f"/webdav/{path}", {}, table.PROPPATCH
        yield "GET", f"/FS/{path}", {}, ""
    finder = {"User-Agent": "WebDAVFS/3.0.0 (03008000) Darwin/22.0.0", "Depth": "0"}
    for name in ("{d}/._x", "{d}/1.0.0/._x", "{d}/1.0.0/.DS_Store", "{q}/._a.txt"):
        yield "PROPFIND", f"/webdav/{name}", finder, ""
        yield "GET", f"/webdav/{name}", finder, ""
    for base in ("/api/v1/datasets/{d}", "/api/v1/datasets/{q}", "/api/v1/datasets/{C}"):
        for path in (
            "",
            "/",
            "/tags",
            "/tags/1.0.0",
            "/tags/none",
            "/tags/{s}",
            "/tags?page_size=1",
            "/tags?page_size=x",
        ):
            yield "GET", base + path, {}, ""
            yield "OPTIONS", base + path, {}, ""
        for tag, match in itertools.product(
            ("latest", "1.0.0", "fresh", "LATEST", "b3-x"), ("If-Match", "If-None-Match")
        ):
            for body in (
                '{{"manifest": "{s}"}}',
                '{{"reference": "{d}:1.0.0"}}',
                '{{"reference": "public:1.0.0"}}',
                "{{}}",
            ):
                yield "PUT", f"{base}/tags/{tag}", {**table.WRITE, match: "*"}, body
            yield "DELETE", f"{base}/tags/{tag}", {**table.WRITE, match: table.NEVER}, ""
    for reference in ("{d}:1.0.0", "{d}:none", "{d}@{s}", "{d}@^1", "{d}", "{d}:latest@2026-01-01"):
        yield "PUT", "/api/v1/datasets/shared/tags/x", table.WRITE, f'{{{{"reference": "{reference}"}}}}'


def spelled(text: str, dataset: str, state: str) -> str:
    escaped = dataset.replace("/", "%2F")
    letters = "".join(f"%{ord(c):02x}" if c in LETTER else c for c in dataset)
    return text.format(d=dataset, q=escaped, C=dataset.upper(), e=letters, s=state, short=state[:15])


def asked(world: World, gateway: Gateway, who: Who, worker: int | None, dataset: str, state: str) -> list[Answer]:
    return [
        world.ask(
            gateway, who, method, spelled(target, dataset, state), headers,
            spelled(body, dataset, state) if body != table.PROPPATCH else body, worker=worker,
        )
        for method, target, headers, body in requests()
    ]  # fmt: skip


@pytest.mark.parametrize(("who", "hidden"), [
    (who, hidden) for who in PRINCIPALS for hidden in ABSENT if who.good and hidden not in who.reads
], ids=lambda value: value if isinstance(value, str) else value.id)  # fmt: skip
def test_what_is_hidden_is_answered_as_what_is_absent(matrix: World, who: Who, hidden: str) -> None:
    state = matrix.states[hidden]
    turns = [turn for turn in cells(matrix) if turn[1] is who]
    gateway = turns[len(who.id) % len(turns)][0]  # both have their turn, by one principal or another
    worker = len(hidden) % 2
    there = asked(matrix, gateway, who, worker, hidden, state)
    absent = asked(matrix, gateway, who, worker, ABSENT[hidden], state)
    for request, one, other in zip(requests(), there, absent, strict=True):
        assert one.renamed(hidden, ABSENT[hidden]) == other.renamed(hidden, ABSENT[hidden]), request
        assert one.status != 200 or request[0] == "OPTIONS", (request, one)
