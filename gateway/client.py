"""The client of a gateway's REST interface that commands use with `--server`. docs/api.md.

A login is sent by TLS, or to this very machine, and to the gateway that was named alone: redirects are told and not
followed. Answers are bounded. What a gateway says no with becomes an error of `gateway.errors`, whose message never
holds the token. One thread a client; blocks.
"""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from gateway.access.fetch import is_loopback
from gateway.errors import (
    GatewayError,
    LoginWanted,
    ServerConflict,
    ServerFailed,
    ServerMissing,
    ServerRefused,
    ServerUnreachable,
    ServerUnusable,
)
from gateway.hush import without_secrets

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0  # without a byte
LARGEST: Final = 8 << 20  # bytes of an answer
API: Final = "/api/v1"
LONGEST_DETAIL: Final = 500  # characters of what a gateway says
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BUSY: Final = frozenset((408, 425, 429, 502, 503, 504, 507))


class Answer(NamedTuple):
    """What a gateway answered."""

    status: int
    headers: Mapping[str, str]  # names in any case
    document: dict[str, Any]  # empty: no body


def parse_server(text: str, *, insecure: bool = False) -> str:
    """Check a gateway's address, `https://host[:port][/path]`; return it in one spelling, without a slash at its end.

    Args:
        text: the address.
        insecure: take `http://` to another machine too.

    Raises:
        ServerUnusable: it is no such address.
        ServerRefused: whoever is on the way could read the login.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ServerUnusable(f"--server: not an address such as https://data.example.org:8080: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ServerUnusable("--server: no user or password in an address, where others see them: `aetherfs login`")
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.rstrip(":")
    odd = not text.isascii() or not text.isprintable() or " " in text or "\\" in text
    if odd or parts.scheme not in ("https", "http") or not _HOST.fullmatch(host) or parts.query or parts.fragment:
        raise ServerUnusable(
            f"--server: {without_secrets(text)[:200]!r} is not an address such as https://data.example.org:8080"
        )
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise ServerRefused(
            f"{host} would be asked by http://, where whoever is on the way reads the login and may use it: give "
            "https://, or --insecure-server if the way there is safe"
        )
    where = f":{port}" if port is not None else ""
    return f"{parts.scheme}://{host.lower()}{where}{quote(parts.path, safe='/%@:~')}".rstrip("/")


class Server:
    """One gateway."""

    def __init__(self, url: str, bearer: str | None = None) -> None:
        """Take what `parse_server` returned, and what to log in with; `None`: nothing."""
        self.url, self._bearer = url, bearer
        self._pool = urllib3.PoolManager(
            num_pools=1, retries=False, timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S)
        )

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def get(self, *names: str, **query: str) -> Answer:
        """Read a resource."""
        return self.ask("GET", *names, query=query)

    def pages(self, name: str, field: str, *, size: int) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list that comes in pages of `size`; errors as `ask`."""
        place = ""
        while True:
            document = self.get(name, page_size=str(size), **({"page_token": place} if place else {})).document
            found, following = document.get(field), document.get("next_page_token")
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                raise ServerFailed(f"{self.url} answered no list of {field}")
            yield from found
            if not following or following == place:
                return
            place = str(following)

    def ask(
        self, method: str, *names: str, body: object = None, query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Ask for a resource of the REST interface and return what was answered, 2xx alone.

        Args:
            method: GET, POST, PUT or DELETE.
            names: of the path below /api/v1, not encoded.
            body: what is sent as JSON; all but GET send something.
            query: parameters.
            headers: fields besides those that are always sent.

        Raises:
            LoginWanted: 401.
            ServerRefused: 403.
            ServerMissing: 404, 410.
            ServerConflict: 409, 412.
            ServerUnusable: other 4xx.
            ServerUnreachable: no connection or answer, 502 to 504, too busy.
            ServerFailed: other answers.
        """
        target = self.url + API + "".join("/" + quote(name, safe="") for name in names)
        if query:
            target += "?" + urlencode(query)
        fields = {"Accept": "application/json", "User-Agent": "aetherfs", **(headers or {})}
        if self._bearer is not None:
            fields["Authorization"] = f"Bearer {self._bearer}"
        data = None
        if method != "GET":
            fields["Content-Type"] = "application/json"
            data = json.dumps({} if body is None else body).encode()
        answer = self._exchange(method, target, data, fields)
        if 200 <= answer.status < 300:
            return answer
        raise self._failure(answer)

    def _exchange(self, method: str, target: str, data: bytes | None, fields: Mapping[str, str]) -> Answer:
        try:
            response = self._pool.request(
                method, target, body=data, headers=fields, redirect=False, preload_content=False
            )
            try:
                content = response.read(LARGEST + 1)
            finally:
                response.close()
        except (SSLError, ssl.SSLError) as error:
            raise ServerUnreachable(
                f"{self.url}: {self._clean(str(error))}; if it vouches for itself, put its certificate into a file and "
                "name that by SSL_CERT_FILE"
            ) from error
        except (LocationValueError, UnicodeError) as error:
            raise ServerUnusable(f"--server: {self.url} is no address that can be asked") from error
        except (HTTPError, OSError) as error:
            raise ServerUnreachable(f"{self.url} does not answer: {self._clean(str(error))}") from error
        if len(content) > LARGEST:
            raise ServerFailed(f"{self.url} answered more than {LARGEST} bytes")
        return Answer(response.status, response.headers, self._document(content, response.headers))

    def _document(self, content: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not content or kind not in ("application/json", "application/problem+json"):
            return {}
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ServerFailed(f"{self.url} answered what is no JSON") from error
        if not isinstance(document, dict):
            raise ServerFailed(f"{self.url} answered JSON that is no object")
        return document

    def _failure(self, answer: Answer) -> GatewayError:
        status = answer.status
        said = answer.document.get("detail") or answer.document.get("title") or f"status {status}"
        detail = self._clean(str(said))
        if status == 401:
            return LoginWanted(
                f"{self.url} wants a login: `aetherfs login --server {self.url}`, or a token in AETHERFS_TOKEN"
                if self._bearer is None
                else f"{self.url} does not take this login, or no longer: `aetherfs login`, or another AETHERFS_TOKEN"
            )
        if 300 <= status < 400:
            there = urlsplit(answer.headers.get("Location", ""))
            hint = f" to {there.scheme}://{there.hostname}" if there.scheme and there.hostname else ""
            return ServerFailed(
                f"{self.url} sends us on{self._clean(hint)}; a login goes to no other address than asked"
            )
        for kind, found in (
            (ServerRefused, status == 403),
            (ServerMissing, status in (404, 410)),
            (ServerConflict, status in (409, 412)),
            (ServerUnreachable, status in _BUSY),
            (ServerUnusable, 400 <= status < 500),
        ):
            if found:
                return kind(f"{self.url}: {detail}")
        return ServerFailed(f"{self.url} failed: {detail}")

    def _clean(self, text: str) -> str:
        """Return what may be printed of what a gateway says: no control characters, and never the login."""
        if self._bearer:
            text = text.replace(self._bearer, "...")
        return _UNPRINTABLE.sub(" ", text)[:LONGEST_DETAIL]
