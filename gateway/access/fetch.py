"""Short questions to other servers: JSON over HTTPS, with bounds on time and size; no redirect is followed.

Plain HTTP is for addresses of this machine alone, as tests and sidecars use it. Proxies are those of the environment
(HTTPS_PROXY, NO_PROXY), certificates those that the system trusts (SSL_CERT_FILE names others). Nothing of an answer
stands in an error's text but its status: it may hold a secret. Any thread.
"""

import ipaddress
import re
import urllib.request
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import urllib3

from auth.strict_json import parse_json
from gateway.access.deadlines import deadline, managed

CONNECT_S: Final = 5.0
READ_S: Final = 5.0  # for each piece
WHOLE_S: Final = 10.0  # for all of an answer
LARGEST: Final = 1 << 20  # bytes of an answer
_HOST: Final = re.compile(r"[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


class FetchFailed(Exception):
    """A server does not answer, or not what was asked for."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            FetchFailed: it is none.
        """
        try:
            return parse_json(self.body)
        except ValueError:
            raise FetchFailed(f"answered {self.status} and no JSON object") from None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by what it is called."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_url(url: str, what: str) -> str:
    """Return a URL that may be asked: https, or http of this machine.

    Raises:
        FetchFailed: it is none; `what` says whose it is.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise FetchFailed(f"{what} is no URL: {url!r:.200}") from None
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url and "@" not in parts.netloc
    if not plain or not _HOST.fullmatch(f"[{host}]" if ":" in host else host) or parts.fragment:
        raise FetchFailed(f"{what} is no URL of a server: {url!r:.200}")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise FetchFailed(f"{what} must begin with https://: {url!r:.200}")
    return url


class Fetch:
    """Asks servers."""

    def __init__(self, *, read_s: float = READ_S, whole_s: float = WHOLE_S) -> None:
        """Bound how long an answer may take: each piece, and all of it."""
        self._timeout, self._whole_s = urllib3.Timeout(connect=min(CONNECT_S, whole_s), read=read_s), whole_s
        self._pools: dict[str, urllib3.PoolManager] = {}

    def get(self, url: str) -> Answer:
        """Ask for a document.

        Raises:
            FetchFailed: no answer.
        """
        return self._ask("GET", url, {"Accept": "application/json"}, None)

    def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form; errors as `get`."""
        form = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", url, form | dict(headers or {}), urlencode(fields).encode("ascii"))

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        check_url(url, "the address")
        place = "{0.scheme}://{0.netloc}".format(urlsplit(url))  # of what comes behind, some is secret
        with deadline(self._whole_s) as question:
            try:
                answer = self._answered(method, url, headers, body, place)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                why = f"does not answer: {type(error).__name__}: {_reason(error)}"
                raise FetchFailed(f"{place} {self._late() if question.cut else why}") from None
            if question.cut:  # what came may be a part
                raise FetchFailed(f"{place} {self._late()}")
            return answer

    def _answered(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, place: str) -> Answer:
        response = self._pool(url).request(
            method, url, body=body, headers=dict(headers), timeout=self._timeout, retries=False, redirect=False,
            preload_content=False, decode_content=False,
        )  # fmt: skip
        try:
            data = bytearray()
            while piece := response.read1(65536):
                data += piece
                if len(data) > LARGEST:
                    raise FetchFailed(f"{place} answers more than {LARGEST} bytes")
            return Answer(response.status, bytes(data))
        finally:
            response.close()

    def _late(self) -> str:
        return f"takes longer than {self._whole_s:.0f} s for an answer"

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Return what leads to a URL: at once, or by a proxy."""
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
        if not proxy or urllib.request.proxy_bypass(parts.netloc):
            proxy = ""
        pool = self._pools.get(proxy)
        if pool is None:
            address = proxy if "://" in proxy else f"http://{proxy}"
            pool = managed(urllib3.ProxyManager(address) if proxy else urllib3.PoolManager())
            self._pools[proxy] = pool
        return pool


def _reason(error: Exception) -> str:
    """Say why, without the URL, which may hold what nobody else is to know."""
    return re.sub(r"\(?(with )?url: \S+|https?://\S+", "...", str(error))[:200]
