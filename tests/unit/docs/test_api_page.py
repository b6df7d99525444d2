"""docs/api.md says what the REST interface's table and bounds are."""

from http import HTTPStatus

from gateway.operations.pages import LARGEST_PAGE, PAGE_SIZE
from gateway.web.api.call import LARGEST_BODY
from gateway.web.api.openapi import openapi
from gateway.web.api.routes import ROUTES
from tests.unit.docs.pages import rows, section, text

PAGE = "docs/api.md"


def test_the_page_has_every_row_of_the_table() -> None:
    shown = [row for row in rows(text(PAGE)) if row[0].startswith("`")]
    assert [(row[0].strip("`"), row[1].strip("`"), row[2]) for row in shown] == [
        (route.method, route.path, route.summary) for route in ROUTES
    ]


def test_what_needs_no_login_is_told() -> None:
    shown = {row[1].strip("`") for row in rows(text(PAGE)) if len(row) == 4 and "not even a login" in row[3]}
    assert shown == {route.path for route in ROUTES if route.public}


def test_every_problem_of_the_document_is_told() -> None:
    told = {int(word) for row in rows(section(PAGE, "Errors")) for word in row[0].split(", ")}
    operations = [operation for path in openapi(ROUTES)["paths"].values() for operation in path.values()]
    documented = {int(status) for operation in operations for status in operation["responses"] if int(status) >= 400}
    assert told == documented
    assert all(HTTPStatus(status) for status in told)


def test_bounds_on_the_page_are_those_of_the_code() -> None:
    page = " ".join(section(PAGE, "Requests").split())
    assert f"up to {LARGEST_BODY:,} bytes" in page
    assert f"({PAGE_SIZE} if not given, {LARGEST_PAGE:,} at most)" in page


def test_the_page_is_found() -> None:
    for other in ("README.md", "docs/operations.md"):
        assert "api.md)" in text(other)
