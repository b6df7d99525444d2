"""From what a request carries to who asks: `Authorization`, else a client certificate, else a session's cookie.

Basic (RFC 7617) carries a user's password or, under any user name, a token; Bearer (RFC 6750) a token or what an OpenID
provider has signed. What is presented must be good: nobody is anonymous by a wrong password. A cookie alone may be old,
for browsers send it unasked: then they did not log in.

Every way has two questions: `known` answers from memory and never waits; `check` may. Any thread.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from auth.errors import BadCredentials
from auth.principal import ANONYMOUS, Principal
from auth.tokens import PREFIX
from gateway.access.environ import CERTIFICATE
from store.errors import NotWarm

LONGEST: Final = 16 << 10  # characters of Authorization that are looked at: JWTs with many groups are long
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


class Passwords(Protocol):
    """Users with passwords."""

    def known(self, user: str, password: bytes, address: str) -> Principal | None: ...
    def check(self, user: str, password: bytes, address: str) -> Principal: ...


class Bearers(Protocol):
    """What a provider signs."""

    def known(self, text: str) -> Principal | None: ...
    def check(self, text: str) -> Principal: ...


class Tokens(Protocol):
    """Tokens of the store."""

    def known(self, text: str) -> Principal | None: ...
    def check(self, text: str, *, address: str) -> Principal: ...


class Session(Protocol):
    """Who logged in by a browser."""

    @property
    def principal(self) -> Principal: ...
    @property
    def csrf(self) -> str: ...


class Sessions(Protocol):
    """Sessions of browsers."""

    def session(self, environ: Mapping[str, Any], *, wait: bool = True) -> Session | None: ...


class Certificates(Protocol):
    """Client certificates that TLS has verified."""

    def principal(self, certificate: bytes) -> Principal: ...


class Ways(NamedTuple):
    """The ways to log in that there are."""

    passwords: Passwords | None = None
    tokens: Tokens | None = None
    provider: Bearers | None = None
    sessions: Sessions | None = None
    certificates: Certificates | None = None


class Identity(NamedTuple):
    """Who asks, and how that was told."""

    principal: Principal
    way: str = ""  # password, token, provider, certificate, session; empty: by nothing
    csrf: str = ""  # of a session: what its forms have to repeat
    fresh: bool = False  # it was checked now, and not remembered


class Claimed(NamedTuple):
    """What an Authorization field presents."""

    way: str
    user: str  # empty for Bearer
    secret: bytes

    def __str__(self) -> str:
        """Say who it is said to be, for logs: never the secret."""
        return f"user:{self.user}" if self.way == "password" else self.way


def claimed(authorization: str) -> Claimed:
    """Read an Authorization field.

    Raises:
        BadCredentials: it is of no kind that is known here, or malformed.
    """
    scheme, _, rest = authorization[: LONGEST + 1].partition(" ")
    rest = rest.strip(" ")
    if len(authorization) > LONGEST:
        raise BadCredentials("the Authorization field is too long")
    if scheme.lower() == "bearer" and rest:
        way = "token" if rest.startswith(PREFIX) else "provider"
        return Claimed(way, "", rest.encode("latin-1", "replace"))
    if scheme.lower() != "basic" or not _BASE64.fullmatch(rest):
        raise BadCredentials("neither Basic nor Bearer")
    try:
        user, colon, password = _in_utf8(base64.b64decode(rest)).partition(b":")
    except (binascii.Error, ValueError) as error:
        raise BadCredentials("Basic is not base64") from error
    if not colon:
        raise BadCredentials("Basic without a colon")
    way = "token" if password.startswith(PREFIX.encode()) else "password"
    return Claimed(way, user.decode(), password)


def _in_utf8(pair: bytes) -> bytes:
    """Return user and password in UTF-8, as they are asked for (RFC 7617 section 2.1).

    Clients that do not heed that send Latin-1, such as Python's requests; what is no UTF-8 is taken for that.
    """
    try:
        pair.decode()
    except UnicodeDecodeError:
        return pair.decode("latin-1").encode()
    return pair


class Identifier:
    """Tells who asks."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def identify(self, environ: Mapping[str, Any], *, wait: bool) -> Identity:
        """Tell who asks.

        Args:
            environ: the request.
            wait: ask what takes long, such as a password's hash or the bucket.

        Raises:
            BadCredentials, Throttled, Undecided: see `auth.errors`.
            NotWarm: not to be told without waiting, or not good: whoever waits has to say which.
        """
        authorization = environ.get("HTTP_AUTHORIZATION")
        if authorization is not None:
            return self._presented(str(authorization), str(environ.get("REMOTE_ADDR", "")), wait=wait)
        certificate: bytes = environ.get(CERTIFICATE, b"")
        if certificate and self._ways.certificates is not None:
            return Identity(self._ways.certificates.principal(certificate), "certificate")
        if self._ways.sessions is not None and "HTTP_COOKIE" in environ:
            session = self._ways.sessions.session(environ, wait=wait)
            if session is not None:
                return Identity(session.principal, "session", session.csrf)
        return Identity(ANONYMOUS)

    def _presented(self, authorization: str, address: str, *, wait: bool) -> Identity:
        what = claimed(authorization)
        if what.way == "password":
            passwords = self._ways.passwords
            if passwords is None:
                raise BadCredentials("there are no users with passwords")
            known = passwords.known(what.user, what.secret, address)
            if known is None and wait:
                return Identity(passwords.check(what.user, what.secret, address), what.way, fresh=True)
        elif what.way == "token":
            tokens, text = self._ways.tokens, what.secret.decode("latin-1")
            if tokens is None:
                raise BadCredentials("there are no tokens")
            known = tokens.known(text)
            if known is None and wait:
                return Identity(tokens.check(text, address=address), what.way, fresh=True)
        else:
            provider, text = self._ways.provider, what.secret.decode("latin-1")
            if provider is None:
                raise BadCredentials("there is no provider whose tokens are taken")
            known = provider.known(text)
            if known is None and wait:
                return Identity(provider.check(text), what.way, fresh=True)
        if known is None:
            raise NotWarm
        return Identity(known, what.way)
