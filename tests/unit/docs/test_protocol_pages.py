"""docs/nfs.md and docs/webdav.md say what the protocols' table and applications do."""

import re

import pytest

from dav.app import ALLOW, WRITERS
from dav.reply import WsgiApp
from gateway.cli.mounting import mount_lines
from gateway.config import Address
from gateway.web.app import make_wsgi_app
from nfs.handlers import changing, locks
from nfs.table import MOUNT_PROCEDURES, NFS_PROCEDURES, NLM_PROCEDURES, Procedure
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call
from tests.unit.docs.pages import rows, section, text

METHODS = rows(section("docs/webdav.md", "Methods"))
SET = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set>'
    b"</D:propertyupdate>"
)


@pytest.fixture
def app() -> WsgiApp:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"a": b"x"})
    return make_wsgi_app(tree)


def answer(procedure: Procedure) -> str:
    if procedure.handler in (locks.lock4, locks.share4):
        return "shared"
    return "refused" if procedure.handler.__module__ == changing.__name__ else "full"


def test_nfs_page_lists_every_procedure_as_the_table_answers_it() -> None:
    page = [tuple(row) for row in rows(section("docs/nfs.md", "Procedures"))]
    code = [
        (
            program,
            str(number),
            procedure.name,
            answer(procedure),
        )
        for program, procedures in (("NFS", NFS_PROCEDURES), ("MOUNT", MOUNT_PROCEDURES), ("NLM", NLM_PROCEDURES))
        for number, procedure in sorted(procedures.items())
    ]
    assert page == code


def test_webdav_page_lists_every_method_that_has_an_answer_of_its_own() -> None:
    assert {row[0] for row in METHODS} == {*ALLOW.split(", "), *WRITERS, "LOCK", "UNLOCK"}


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row[0])
def test_webdav_page_says_how_each_method_is_answered(app: WsgiApp, row: list[str]) -> None:
    method, *answers = row
    for answer, prefix in zip(answers, ("/webdav", "/fs"), strict=True):
        done = call(app, method, f"{prefix}/geo/1.0.0/a", {}, SET if method == "PROPPATCH" else b"")
        found = re.search(r"\b[2-5]\d\d\b", answer)  # a status, also that of a missing Depth
        assert done.status == (int(found[0]) if found else 200)


def test_nfs_page_shows_the_mount_lines_of_a_gateway_with_a_portmapper() -> None:
    lines = [line.strip() for line in mount_lines(None, Address("127.0.0.1", 2049), portmap=True)]
    commands = [line for line in lines if re.match(r"mount |mkdir ", line)]
    assert len(commands) == 3
    assert [line for line in commands if line not in text("docs/nfs.md")] == []


@pytest.mark.parametrize("page", ["docs/nfs.md", "docs/webdav.md"])
def test_protocol_pages_show_the_mount_lines_that_a_gateway_prints(page: str) -> None:
    lines = [line.strip() for line in mount_lines(Address("127.0.0.1", 8080), Address("127.0.0.1", 2049))]
    commands = [line for line in lines if re.match(r"mount |mkdir |net use |rclone mount ", line)]
    shown = text(page)
    mine = [line for line in commands if ("2049" in line) == (page == "docs/nfs.md")]
    assert len(mine) == 2
    assert [line for line in mine if line not in shown] == []
