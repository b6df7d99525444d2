"""The WSGI application of everything below /api/v1: finds the row of the table, and turns every error into a problem.

The caller is in the environ, where the gate has left it (`gateway.access.environ`). Any thread; answers block on the
bucket.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from dav.reply import Buffer, Environ, Reply, StartResponse, send, target_of
from dav.status import explain, status_of
from dav.wire.errors import WireError
from dav.wire.paths import split_target
from gateway.access import audit as events
from gateway.access.audit import NOWHERE, Audit
from gateway.access.tokens import Tokens
from gateway.config import Settings
from gateway.errors import GatewayError, PolicyMoved, TokenMissing, TokenTaken
from gateway.operations.errors import OperationError
from gateway.operations.rights import Policies
from gateway.web.api.call import Call
from gateway.web.api.context import Context
from gateway.web.api.openapi import openapi
from gateway.web.api.problems import FIXED, Problem, json_reply, problem_of, problem_reply
from gateway.web.api.routes import ROUTES, Route, match
from gateway.web.failures import noted
from store.catalogue.catalogue import Seen
from store.errors import ConditionsIgnored, StoreError
from store.repository import Repository

PREFIX: Final = (b"api", b"v1")
_STATUS: Final = {TokenMissing: 404, TokenTaken: 409, PolicyMoved: 412}
_DOCUMENT: Final = openapi(ROUTES)


class ApiApp:
    """The REST interface."""

    def __init__(
        self,
        repository: Repository,
        *,
        policies: Policies,
        tokens: Tokens,
        settings: Settings,
        audit: Audit = NOWHERE,
        seen: Seen | None = None,
    ) -> None:
        """Take what it stands on.

        Args:
            repository: the open store; its tags are read and changed.
            policies: say who may what.
            tokens: of the same store.
            settings: say how one logs in, and where the policy lies.
            audit: told of every change and refusal.
            seen: told how often the policy in the bucket was written; see `gateway.stores.Opened`.
        """
        self._context = Context(repository, policies, settings, audit, tokens, seen)
        own = urlsplit(settings.http.public_url).hostname
        self._own_hosts = None if settings.login else frozenset((own,) if own else ())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        """Answer one request; raises nothing."""
        try:
            reply = self._answer(environ)
        except Problem as problem:
            reply = problem_reply(problem)
        except OperationError as error:
            reply = problem_reply(problem_of(error))
        except GatewayError as error:
            reply = problem_reply(Problem(_STATUS.get(type(error), 500), str(error)))
        except (StoreError, WireError) as error:
            reply = _failed(environ, error)
        except Exception as error:  # the shell's one catch-all: nothing was sent yet
            reply = _failed(environ, error)
        return send(reply, environ, start_response)

    def _answer(self, environ: Environ) -> Reply:
        method = str(environ["REQUEST_METHOD"])
        names = _names(environ)
        if names == ("openapi.json",):
            if method not in ("GET", "HEAD"):
                raise Problem(405, f"{method} is not for this", headers=[("Allow", "GET, HEAD, OPTIONS")])
            return json_reply(200, _DOCUMENT)
        routes, places = match(names)
        if not routes:
            raise Problem(404, "nothing here; /api/v1/openapi.json says what there is")
        allow = [("Allow", ", ".join((*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS")))]
        if method == "OPTIONS":
            return Reply(204, [*allow, *FIXED])
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise Problem(405, f"{method} is not for this", headers=allow)
        return self._routed(route, Call(environ, method, places))

    def _routed(self, route: Route, call: Call) -> Reply:
        if route.method != "GET":
            if "HTTP_EXPECT" in call.environ:  # who waits to be asked for a body is not asked (RFC 9110 section 10.1.1)
                raise Problem(417, "send the body at once, without Expect")
            try:
                call.check_writes(own_hosts=self._own_hosts)
            except Problem as problem:
                self._context.note(
                    call, events.DENIAL, events.REFUSED, action=f"{route.method} {route.path}", why=problem.detail
                )
                raise
        return route.handler(self._context, call)


def _names(environ: Environ) -> tuple[str, ...]:
    """Return the names of the path below /api/v1; what is no text has no resource."""
    names = split_target(target_of(environ)).names
    if names[:2] != PREFIX:
        return ()
    try:
        return tuple(name.decode() for name in names[2:])
    except UnicodeDecodeError:
        return ()


def _failed(environ: Environ, error: Exception) -> Reply:
    """Answer an error of the store, of the request's syntax, or one that nobody expected."""
    status = 503 if isinstance(error, ConditionsIgnored) else status_of(error)
    if status < 500:
        return problem_reply(Problem(status, explain(error)))
    request_id, headers = noted(environ, error, status)
    said = "the store does not answer, or takes no changes, at the moment" if status == 503 else "it failed"
    return problem_reply(Problem(status, f"{said} (request {request_id})", headers=headers))
