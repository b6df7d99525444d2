"""Sessions of browsers: from a request's cookie to who logged in, and from a login to a cookie.

A session lies in the browser alone, sealed (`auth.session`); the store keeps only which ones were ended early
(`gateway.access.ended`). Each login has a session of its own, whatever cookie the browser came with. Any thread.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from auth.errors import BadCredentials
from auth.principal import Principal
from auth.session import SESSION, Sealer, Session, begin, open_session, seal_session
from gateway.access.ended import Ended
from gateway.web.cookies import cookie_name, is_secure, read_cookie, set_cookie

COOKIE: Final = "aetherfs"
OIDC: Final = "oidc"  # ways to log in
BASIC: Final = "basic"


class Sessions:
    """Reads and makes sessions."""

    def __init__(
        self,
        key: bytes,
        ended: Ended,
        *,
        lasts_s: float,
        public_url: str = "",
        secret: bytes = b"",
        mark: Callable[[str], str | None] = lambda user: "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what all gateways of the store share.

        Args:
            key: the store's handle key.
            ended: knows who logged out.
            lasts_s: how long a session is good.
            public_url: where browsers reach the gateway; empty: where they ask.
            secret: that all gateways have and the bucket has not, if there is one.
            mark: returns what stands for a user's password of the moment: with it, sessions that it began end.
            now: tells seconds since 1970.
        """
        self._mark = mark
        self._sealer, self._ended = Sealer(key, SESSION, secret=secret), ended
        self._lasts_s, self._public_url, self._now = lasts_s, public_url, now

    def session(self, environ: Mapping[str, Any], *, wait: bool = True) -> Session | None:
        """Return the session of a request; `None`: it has none that is good.

        Args:
            environ: the request.
            wait: ask the bucket for logouts elsewhere if it was not asked for a while.

        Raises:
            NotWarm: the bucket has to be asked, and nobody may wait.
            Undecided: it does not answer, and has not for long.
        """
        name = cookie_name(COOKIE, secure=is_secure(environ, self._public_url))
        text = read_cookie(environ, name)
        if not text:
            return None
        try:
            session = open_session(self._sealer, text, self._now())
        except BadCredentials:
            return None
        way, _, mark = session.way.partition(" ")
        if way == BASIC and mark != self._mark(session.principal.name):  # the password is another, or the user is gone
            return None
        return None if self._ended.covers(session, wait=wait) else session._replace(way=way)

    def begin(self, environ: Mapping[str, Any], principal: Principal, way: str) -> tuple[str, str]:
        """Begin a session; return the field that hands it to the browser.

        Args:
            environ: the request.
            principal: who logged in.
            way: how: OIDC or BASIC.

        Raises:
            TooLarge: the user is in more groups than a cookie holds.
        """
        # After a logout everywhere in this very second, or on a gateway whose clock is ahead, it must begin later.
        now_s = max(self._now(), self._ended.before_s(principal.name))
        how = f"{way} {self._mark(principal.name)}" if way == BASIC else way
        text = seal_session(self._sealer, begin(principal, now_s, self._lasts_s, how))
        return self._cookie(environ, text, int(self._lasts_s))

    def end(self, session: Session, *, everywhere: bool) -> None:
        """End a session, or all of its user's.

        Raises:
            StoreError: other gateways can't be told; here it is over.
        """
        self._ended.end(session, everywhere=everywhere)

    def forget(self, environ: Mapping[str, Any]) -> tuple[str, str]:
        """Return the field that has the browser drop its session."""
        return self._cookie(environ, "", 0)

    def _cookie(self, environ: Mapping[str, Any], text: str, lasts_s: int) -> tuple[str, str]:
        secure = is_secure(environ, self._public_url)
        return set_cookie(cookie_name(COOKIE, secure=secure), text, secure=secure, lasts_s=lasts_s)
