"""Errors of the REST interface as problem documents (RFC 9457). Any thread; pure."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from dav.reply import Headers, Reply
from gateway.access.gate import CHALLENGES
from gateway.operations import errors as operations

FIXED: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
STATUS: Final[Mapping[type[operations.OperationError], int]] = {
    operations.LoginNeeded: 401,
    operations.NotAllowed: 403,
    operations.BadArgument: 400,
    operations.BadWish: 422,
    operations.ConditionFailed: 412,
    operations.OutOfRange: 416,
}


class Problem(Exception):
    """A request that is answered by a problem document."""

    def __init__(self, status: int, detail: str, *, headers: Headers | None = None, **more: object) -> None:
        """Say what is wrong.

        Args:
            status: of the answer, from 400.
            detail: for people; what this very request got wrong.
            headers: fields besides those that every answer has.
            more: further members of the document.
        """
        self.status, self.detail, self.headers, self.more = status, detail, headers or [], more
        super().__init__(detail)


def problem_of(error: operations.OperationError) -> Problem:
    """Return what an operation that was not done is to whoever asked."""
    status = STATUS[type(error)]
    return Problem(status, str(error), headers=[*CHALLENGES] if status == 401 else None)


def json_reply(status: int, document: Mapping[str, Any], headers: Headers | None = None) -> Reply:
    """Return a document as an answer that no cache keeps."""
    return _reply(status, "application/json", document, headers or [])


def problem_reply(problem: Problem) -> Reply:
    """Return the answer of a problem."""
    document = {
        "type": "about:blank",  # the status says all there is to tell them apart (section 4.2.1)
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.more,
    }
    return _reply(problem.status, "application/problem+json", document, problem.headers)


def as_problem(reply: Reply) -> Reply:
    """Return a short plain-text refusal, such as the gate's, as the problem document that it is here."""
    if reply.status < 400:
        return reply
    detail = b"".join(bytes(part) for part in reply.body).decode("utf-8", "replace").strip()
    replaced = {"content-type", "content-length", *(name.lower() for name, _ in FIXED)}
    kept = [(name, value) for name, value in reply.headers if name.lower() not in replaced]
    return problem_reply(Problem(reply.status, detail, headers=kept))


def _reply(status: int, kind: str, document: Mapping[str, Any], headers: Headers) -> Reply:
    # ASCII alone, and `<` escaped: nothing in it is markup to whoever ignores the type.
    body = json.dumps(document).replace("<", "\\u003c").encode() + b"\n"
    return Reply(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *FIXED, *headers], (body,))
