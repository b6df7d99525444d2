"""The gate before everything that HTTP shows: who asks, and whether they are to be asked to log in first.

What a principal may not read does not exist for it: its tree (`store.vfs.visible`) has no such dataset, and so the
answer is 404, as for one that was never there. Somebody who did not log in is asked to (401) instead, by the dataset's
or scope's name alone: whether there is one is not looked at. Any thread.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

from auth.errors import AuthError, Throttled, Undecided
from auth.policy import Policy
from auth.principal import ANONYMOUS, Action, Principal
from dav.reply import WHO, Environ, Headers, Reply, header, target_of, text_reply
from dav.resolve import split_scope
from gateway.access import audit as events
from gateway.access.audit import Audit
from gateway.access.entrance import Entrance, refusal
from gateway.access.environ import CSRF, PRINCIPAL, SESSION
from gateway.access.identify import Identifier, Identity
from gateway.operations.errors import LOG_IN
from store.errors import NotWarm

CHALLENGES: Final = (
    ("WWW-Authenticate", 'Basic realm="AetherFS", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="AetherFS"'),
)
LOGIN_PAGE: Final = "/ui/login"
RETRY_S: Final = 5
_DAV: Final = (("DAV", "1"), ("MS-Author-Via", "DAV"))  # Finder looks for them on a 401 too


class Policies(Protocol):
    """Where the policy of the moment is from."""

    @property
    def policy(self) -> Policy: ...


class Stopped(Exception):
    """A request goes no further: `reply` is its answer."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.status)


class Gate:
    """Lets requests through, or answers them."""

    def __init__(self, identifier: Identifier, policies: Policies, audit: Audit, *, page: bool = False) -> None:
        """Guard a gateway with login.

        Args:
            identifier: tells who asks.
            policies: say what they may.
            audit: told of logins and refusals.
            page: send browsers to the login page, where others are challenged.
        """
        self._entrance, self._policies, self._audit = Entrance(identifier, audit), policies, audit
        self._page, self._wait = page, True

    def prompt(self) -> "Gate":
        """Return the same gate for where nobody may wait: it raises `NotWarm` for what takes long."""
        gate = copy.copy(self)  # what one has noted the other does not note again
        gate._wait = False
        return gate

    def who(self, environ: Environ) -> Principal:
        """Tell who asks, and leave it in the environ.

        Raises:
            Stopped: they are not who they say, or it can't be told.
            NotWarm: only with `wait` false.
        """
        try:
            found = self._entrance.identify(environ, wait=self._wait)
        except AuthError as error:
            raise Stopped(self._refusal(environ, error)) from error
        _leave(environ, found)
        return found.principal

    def known(self, environ: Mapping[str, Any]) -> Principal | None:
        """Tell who asks, and note nothing; `None`: it takes more than memory, or they are not who they say."""
        try:
            return self._entrance.known(environ).principal
        except (AuthError, NotWarm):
            return None

    def admit(self, environ: Environ, names: tuple[bytes, ...]) -> Principal:
        """Let a request for the tree through.

        Args:
            environ: the request.
            names: of the path below the surface's prefix.

        Raises:
            Stopped: its answer is a challenge.
            NotWarm: only with `wait` false.
        """
        principal = self.who(environ)
        dataset, policy = dataset_of(names), self._policies.policy
        if dataset is None:
            scope = f"{_text(names[0])}/" if names else ""
            if principal == ANONYMOUS and not policy.may_read_some(principal, scope):
                raise Stopped(self.challenge(environ))
        elif not policy.allows(principal, Action.READ, dataset):
            if principal != ANONYMOUS and not self._wait:
                raise NotWarm  # what is answered may still take long, and would be noted twice
            self._denied(environ, principal, dataset=dataset, action=str(Action.READ))
            if principal == ANONYMOUS:
                raise Stopped(self.challenge(environ))
        return principal

    def admit_api(self, environ: Environ) -> Principal:
        """Let a request for what is not the tree through: of those who did not log in, reads where there is a point."""
        principal = self.who(environ)
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        if principal == ANONYMOUS and not (reads and self._policies.policy.may_read_some(principal)):
            self._denied(environ, principal, action=environ["REQUEST_METHOD"])
            raise Stopped(self.challenge(environ))
        return principal

    def _denied(self, environ: Environ, principal: Principal, **more: str) -> None:
        address = str(environ.get("REMOTE_ADDR", ""))
        self._audit.note(
            events.DENIAL, events.REFUSED, principal=principal, address=address, **more, target=target_of(environ)
        )

    def challenge(self, environ: Mapping[str, Any]) -> Reply:
        """Return the answer that asks for a login: a page for browsers where there is one, else 401."""
        fresh = [("Cache-Control", "no-store")]
        if self._page and _is_browser(environ):
            where = f"{LOGIN_PAGE}?next={quote(target_of(environ), safe='')}"
            return text_reply(303, "log in first", [("Location", where), *fresh])
        headers: Headers = [*CHALLENGES, *_DAV, *fresh]
        return text_reply(401, LOG_IN, headers)

    def _refusal(self, environ: Mapping[str, Any], error: AuthError) -> Reply:
        fresh = ("Cache-Control", "no-store")
        if isinstance(error, Throttled):
            later = [("Retry-After", str(max(1, round(error.retry_after_s)))), fresh]
            return text_reply(429, refusal(error), later)
        if isinstance(error, Undecided):
            return text_reply(503, refusal(error), [("Retry-After", str(RETRY_S)), fresh])
        headers: Headers = [*CHALLENGES, *_DAV, fresh]
        return text_reply(401, refusal(error), headers)


def dataset_of(names: tuple[bytes, ...]) -> str | None:
    """Return the dataset that a path below a surface's prefix leads into; `None` for what is above datasets."""
    spelled = split_scope(names)
    if not spelled:
        return None
    first = _text(spelled[0])
    if not first.startswith("@"):
        return first
    return f"{first}/{_text(spelled[1])}" if len(spelled) > 1 else None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _leave(environ: Environ, found: Identity) -> None:
    environ[PRINCIPAL] = environ[WHO] = found.principal
    if found.way == "session":
        environ[SESSION], environ[CSRF] = True, found.csrf


def _is_browser(environ: Mapping[str, Any]) -> bool:
    """Tell whether a person looks at the answer: programs do not ask for HTML."""
    reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
    return reads and "text/html" in (header(environ, "Accept") or "") and "HTTP_AUTHORIZATION" not in environ
