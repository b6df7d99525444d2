"""Cookies as browsers send them and as they are set (RFC 6265), and the places that a browser may be sent on to.

A cookie over TLS has the prefix `__Host-`: browsers take it only with `Secure`, from the host itself and for all of it,
so that neither another host of the domain nor plain HTTP can plant one. Pure; any thread.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from dav.reply import TLS

MOST: Final = 32 * 1024  # characters of a Cookie field that are looked at
LONGEST_NEXT: Final = 2048
HOME: Final = "/ui/"
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)


def cookie_name(name: str, *, secure: bool) -> str:
    """Return what a cookie is called."""
    return f"__Host-{name}" if secure else name


def read_cookie(environ: Mapping[str, Any], name: str) -> str | None:
    """Return a cookie's value, `None` if it was not sent, or twice with different values: one of them was planted."""
    field = str(environ.get("HTTP_COOKIE", ""))
    if len(field) > MOST:
        return None
    found = {value for key, _, value in (pair.strip(" \t").partition("=") for pair in field.split(";")) if key == name}
    return found.pop() if len(found) == 1 else None


def set_cookie(name: str, value: str, *, secure: bool, lasts_s: int) -> tuple[str, str]:
    """Return the field that sets a cookie; with `lasts_s` 0, that removes it."""
    flags = "; Secure" if secure else ""
    return "Set-Cookie", f"{name}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{flags}"


def is_secure(environ: Mapping[str, Any], public_url: str) -> bool:
    """Tell whether browsers reach the gateway by TLS: its own, or that of what stands before it."""
    return public_url.lower().startswith("https:") if public_url else bool(environ.get(TLS))


def origin(environ: Mapping[str, Any], public_url: str) -> str | None:
    """Return where browsers reach the gateway: scheme and host, no slash; `None` if the Host that was asked is none."""
    if public_url:
        return public_url.rstrip("/")
    host = str(environ.get("HTTP_HOST", ""))
    if not _HOST.fullmatch(host):
        return None
    return f"{'https' if environ.get(TLS) else 'http'}://{host}"


def local_path(text: str) -> str:
    """Return a place on this gateway that somebody may be sent on to after login; HOME for anything else."""
    # Browsers take "//host", "/\host" and "/<tab>/host" for another host.
    if len(text) > LONGEST_NEXT or not _PATH.fullmatch(text) or text.startswith("//"):
        return HOME
    parts = urlsplit(text)
    path = unquote(parts.path)
    # "/..//host" and "/%2F/host" stay here in browsers; others on the way may resolve or decode them first.
    if not {".", ".."}.isdisjoint(path.split("/")) or path.startswith("//") or "\\" in path:
        return HOME
    if parts.scheme or parts.netloc or path.startswith("/ui/log"):
        return HOME
    return text
