"""Who comes in: identified, noted in the audit log, and told why not in words that help nobody to guess.

A login is noted when its credentials are checked, not when they are remembered; that by a certificate, which costs
nothing, seldom. Any thread.
"""

from collections.abc import Mapping
from typing import Any

from auth.errors import AuthError, Throttled, Undecided
from gateway.access import audit as events
from gateway.access.audit import Audit
from gateway.access.identify import Identifier, Identity, claimed
from gateway.access.seldom import Seldom


class Entrance:
    """Tells who asks, and the audit log of it."""

    def __init__(self, identifier: Identifier, audit: Audit, *, surface: str = "") -> None:
        """Stand before a front end.

        Args:
            identifier: tells who asks.
            audit: told of logins and refusals.
            surface: by what they come, as the audit log is to have it.
        """
        self._identifier, self._audit = identifier, audit
        self._more = {"surface": surface} if surface else {}
        self._seldom = Seldom()

    def identify(self, environ: Mapping[str, Any], *, wait: bool = True) -> Identity:
        """Tell who asks.

        Raises:
            AuthError: they are not who they say, or it can't be told; noted.
            NotWarm: only with `wait` false.
        """
        address = str(environ.get("REMOTE_ADDR", ""))
        try:
            found = self._identifier.identify(environ, wait=wait)
        except AuthError as error:
            self.refused(environ, error)
            raise
        if found.fresh or (found.way == "certificate" and self._seldom.first((found.principal, address))):
            self._audit.note(
                events.LOGIN, events.OK, principal=found.principal, address=address, way=found.way, **self._more
            )
        return found

    def refused(self, environ: Mapping[str, Any], error: AuthError) -> None:
        """Note that somebody was not let in."""
        self._audit.note(
            events.LOGIN, events.REFUSED, principal=_said(environ), address=str(environ.get("REMOTE_ADDR", "")),
            why=str(error), agent=environ.get("HTTP_USER_AGENT"), **self._more,
        )  # fmt: skip

    def known(self, environ: Mapping[str, Any]) -> Identity:
        """Do the same from memory, and note nothing."""
        return self._identifier.identify(environ, wait=False)


def refusal(error: AuthError) -> str:
    """Return what somebody is told who is not let in."""
    if isinstance(error, Throttled):
        return "too many wrong passwords; try again later"
    if isinstance(error, Undecided):
        return "the login can't be checked at the moment"
    return "wrong user, password or token, or one that is no longer good"


def _said(environ: Mapping[str, Any]) -> str:
    """Return who somebody says to be that is not let in."""
    try:
        return str(claimed(str(environ.get("HTTP_AUTHORIZATION", ""))))
    except AuthError:
        return "unknown"
