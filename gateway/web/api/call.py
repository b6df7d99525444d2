"""One request of the REST interface: what its target, its query, its fields and its body say, all of it bounded.

Bodies have to be `Content-Type: application/json`, which no form of another site can send, and with a session's cookie
they repeat what the session's own pages were told (`X-AetherFS-CSRF`). One thread a call.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from auth.principal import Principal
from auth.strict_json import parse_json
from dav.reply import Environ, header, read_body
from dav.wire.conditions import matches
from gateway.access.environ import CSRF, SESSION, principal_of
from gateway.operations.errors import ConditionFailed
from gateway.operations.pages import PAGE_SIZE, Page, parse_page
from gateway.web.api.problems import Problem

LARGEST_BODY: Final = 64 << 10  # bytes
LARGEST_QUERY: Final = 4096  # characters
MOST_PARAMETERS: Final = 16
SURFACE: Final = "api"  # in the audit log
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the table knows."""

    environ: Environ
    method: str
    names: tuple[str, ...]  # what stood in the path's places, in their order

    @property
    def principal(self) -> Principal:
        """Return who asks."""
        return principal_of(self.environ)

    @property
    def address(self) -> str:
        """Return from where."""
        return str(self.environ.get("REMOTE_ADDR", ""))

    @property
    def surface(self) -> str:
        """Return by what, as the audit log has it."""
        return SURFACE

    def query(self, *known: str) -> dict[str, str]:
        """Return the parameters.

        Raises:
            Problem: 400: too many, twice the same, or one that is not among `known`.
        """
        text = str(self.environ.get("QUERY_STRING", ""))
        if len(text) > LARGEST_QUERY:
            raise Problem(400, f"a query of more than {LARGEST_QUERY} characters")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
        except ValueError as error:
            raise Problem(
                400, f"the query can't be read: more than {MOST_PARAMETERS} parameters, or no UTF-8"
            ) from error
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Problem(400, "a parameter of the query comes twice")
        unknown = sorted(found.keys() - set(known))
        if unknown:
            raise Problem(
                400, f"there is no parameter {unknown[0][:80]!r} here; there are: {', '.join(known) or 'none'}"
            )
        return found

    def page(self) -> Page:
        """Return which page of a list is asked for.

        Raises:
            Problem, BadArgument: 400: not what a page before told, or no size.
        """
        found = self.query("page_token", "page_size")
        size = found.get("page_size", str(PAGE_SIZE))
        if not (size.isascii() and size.isdecimal() and len(size) < 10):
            size = "0"  # no size either
        return parse_page(found.get("page_token", ""), int(size))

    def check_writes(self, *, own_hosts: Collection[str] | None = None) -> None:
        """Let no page of another site write in the name of who looks at it.

        Args:
            own_hosts: names by which the gateway is asked besides `localhost` and addresses, where nobody has to log
                in: there a page could ask by a name of its own, which it has pointed at the gateway's address since
                (DNS rebinding), and would be the gateway's own page to the browser. `None`: that gains it nothing.

        Raises:
            Problem: 415: a body of another type. 403: a session's cookie without the session's word, or a foreign name.
        """
        if own_hosts is not None and not _is_own(header(self.environ, "Host"), own_hosts):
            raise Problem(
                403,
                "without login, changes are taken at localhost, at an IP address, and at the host of http.public_url",
            )
        kind = str(self.environ.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (self.method == "DELETE" and self._is_bare()):
            raise Problem(415, "what has a body is sent with Content-Type: application/json")
        if self.environ.get(SESSION):
            wanted = str(self.environ.get(CSRF) or "")
            given = header(self.environ, "X-AetherFS-CSRF") or ""
            if not wanted or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
                raise Problem(403, "X-AetherFS-CSRF is not what this session was told")

    def _is_bare(self) -> bool:
        """Tell whether it has no body: no page of another site can send a DELETE unasked, whatever its type."""
        length = str(self.environ.get("CONTENT_LENGTH") or "0")
        return length == "0" and header(self.environ, "Transfer-Encoding") is None

    def body(self, *known: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
        """Read the body, a JSON object.

        Args:
            known: members that it may have.
            needed: those of them that it must have.

        Raises:
            Problem: 413: too long. 400: no JSON object. 422: a member that is not known, or lacks.
        """
        length = str(self.environ.get("CONTENT_LENGTH") or "")
        if length.isdecimal() and int(length) > LARGEST_BODY:
            raise Problem(413, f"a body of more than {LARGEST_BODY} bytes")
        chunked = header(self.environ, "Transfer-Encoding") is not None
        data = read_body(self.environ, LARGEST_BODY + 1 if chunked else int(length or "0"))
        if len(data) > LARGEST_BODY:
            raise Problem(413, f"a body of more than {LARGEST_BODY} bytes")
        try:
            document = parse_json(data)
        except ValueError as error:
            raise Problem(400, f"the body is no JSON object: {str(error)[:100]}") from error
        unknown = sorted(document.keys() - set(known))
        if unknown:
            raise Problem(422, f"there is no {unknown[0][:80]!r} in it; there are: {', '.join(known)}")
        for name in needed:
            if document.get(name) is None:
                raise Problem(422, f"{name!r} lacks")
        return document

    def text(self, body: Mapping[str, Any], name: str) -> str | None:
        """Return a member of the body that is text, `None` where it is absent or null.

        Raises:
            Problem: 422: it is something else.
        """
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            raise Problem(422, f"{name!r} is no text")
        return value

    def check_conditions(self, etag: str | None) -> bool:
        """Hold If-Match and If-None-Match of a write against what there is (RFC 9110 section 13.2.2).

        Args:
            etag: of what there is now, with its quotes; `None`: nothing.

        Returns:
            Whether there was a condition: then the write is to go through only if it still holds.

        Raises:
            ConditionFailed: it does not hold.
        """
        if_match, if_none_match = header(self.environ, "If-Match"), header(self.environ, "If-None-Match")
        if if_match is not None and (etag is None or not matches(if_match, etag, weak=False)):
            raise ConditionFailed(f"it is not what If-Match names, but {etag or 'not there'}")
        if if_none_match is not None and etag is not None and matches(if_none_match, etag, weak=True):
            raise ConditionFailed(f"it is {etag}, which If-None-Match names")
        return if_match is not None or if_none_match is not None

    def not_modified(self, etag: str) -> bool:
        """Tell whether who reads has it already."""
        field = header(self.environ, "If-None-Match")
        return field is not None and matches(field, etag, weak=True)


def _is_own(field: str | None, own_hosts: Collection[str]) -> bool:
    """Tell whether a Host field is one that no other site can have: absent, an address, or one of the gateway's."""
    if field is None:  # browsers always send it
        return True
    found = _HOST.fullmatch(field.strip().lower())
    name = found[1] if found else ""
    if name == "localhost" or name in own_hosts:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
