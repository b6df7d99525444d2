"""The OpenAPI 3.1 document of the REST interface, made of the table that answers it. Pure."""

import re
from http import HTTPStatus
from typing import Any, Final

from gateway.operations.pages import LARGEST_PAGE, PAGE_SIZE
from gateway.web.api.routes import Route
from gateway.web.api.schemas import SCHEMAS

VERSION: Final = "1"
_QUERY: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "page_token": ({"type": "string"}, "What the page before said is next; absent: the first page"),
    "page_size": (
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE_SIZE},
        "Entries of a page at most",
    ),
}
_FIELDS: Final = {
    "If-Match": "Only if it still has this ETag; *: if it is there",
    "If-None-Match": "Only if it has not this ETag; *: if it is not there. Of a read: 304 where it has",
    "X-AetherFS-CSRF": "Needed of browsers that are logged in by a cookie",
}
_PLACES: Final = {"name": "A dataset, @scope%2Fname or @scope/name for one in a scope; or a token", "tag": "A tag"}
_WRITES: Final = ("POST", "PUT", "DELETE")
_ALWAYS: Final = (400, 429, 500, 503)


def openapi(routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AetherFS",
            "version": VERSION,
            "description": "Bodies are sent with Content-Type: application/json. They have at most 64 KiB. "
            "What may not be read is answered as what is not there.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"basic": []}, {"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "User and password, or any user and a token",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token, or what the provider signs"},
                "session": {"type": "apiKey", "in": "cookie", "name": "aetherfs", "description": "A browser's login"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    writes = route.method in _WRITES
    fields = (*route.fields, "X-AetherFS-CSRF") if writes else route.fields
    always = _ALWAYS if route.public else (*_ALWAYS, 401)
    problems = {*always, *route.problems, *((403, 413, 415, 417) if writes else ())}
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [
            *(_parameter(name, "path", {"type": "string"}, _PLACES[name]) for name in _places(route.path)),
            *(_parameter(name, "query", *_QUERY[name]) for name in route.query),
            *(_parameter(name, "header", {"type": "string"}, _FIELDS[name]) for name in fields),
        ],
        "responses": {
            **{str(status): _answer(status, schema) for status, schema in route.answers.items()},
            **{str(status): _problem(status) for status in sorted(problems)},
        },
    }
    if route.wish:
        operation["requestBody"] = {"required": True, "content": _content("application/json", route.wish)}
    if route.public:
        operation["security"] = []
    return operation


def _places(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def _parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


def _answer(status: int, schema: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    return answer | {"content": _content("application/json", schema)} if schema else answer


def _problem(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": _content("application/problem+json", "Problem")}


def _content(kind: str, schema: str) -> dict[str, Any]:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
