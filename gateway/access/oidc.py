"""The provider that the settings name, and its tokens as they are taken. Plain functions; nothing is asked yet."""

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from auth.oidc import Rules
from gateway.access.fetch import FetchFailed, check_url
from gateway.access.oauth import Client
from gateway.access.provider import OidcTokens, Provider
from gateway.config import ConfigError, Settings
from gateway.guarded_files import why_not

LARGEST_SECRET: Final = 4096  # bytes

_log = structlog.stdlib.get_logger("aetherfs.oidc")


class Login(NamedTuple):
    """A provider, as people and programs log in with it."""

    provider: Provider
    tokens: OidcTokens
    client: Client  # the gateway itself
    scopes: str  # of a browser's login


def open_login(settings: Settings) -> Login | None:
    """Return the provider that is set; `None`: none is.

    Raises:
        ConfigError: the settings do not fit together, or the secret cannot be read.
    """
    oidc = settings.auth_oidc
    check_public_url(settings)
    if not oidc.issuer:
        return None
    if not oidc.client_id:
        raise ConfigError("auth.oidc.client_id: needed with auth.oidc.issuer: how the provider knows this gateway")
    try:
        check_url(oidc.issuer, "auth.oidc.issuer")
    except FetchFailed as error:
        raise ConfigError(str(error)) from error
    scopes = oidc.scopes.split()
    if "openid" not in scopes:
        raise ConfigError(f"auth.oidc.scopes: {oidc.scopes!r} must have openid: else nothing is said of the user")
    rules = Rules(oidc.issuer, oidc.client_id, oidc.audience, oidc.user_claim or "sub", oidc.groups_claim)
    provider = Provider(oidc.issuer)
    # The gateway keeps no token of a user, so it needs none that outlives the login.
    lasting = " ".join(scope for scope in scopes if scope != "offline_access")
    what = "auth.oidc.client_secret_file"
    client = Client(oidc.client_id, read_secret(oidc.client_secret_file, what, guarded=True))
    return Login(provider, OidcTokens(provider, rules), client, lasting)


def check_public_url(settings: Settings) -> None:
    """Check where browsers reach the gateway.

    Raises:
        ConfigError: it is no such place.
    """
    url = settings.http.public_url
    scheme, _, rest = url.partition("://")
    host = rest.rstrip("/")
    plain = host.isascii() and host.isprintable() and not set(host) & set("/\\?#@ \"'<>")
    if url and (scheme not in ("https", "http") or not host or not plain):
        raise ConfigError(f"http.public_url: {url!r} is not like https://data.example.org, without a path")


def read_secret(path: str, what: str, *, guarded: bool = False) -> str:
    """Return a client's secret from its file.

    Args:
        path: the file; empty: there is none, and no secret.
        what: whose it is, for messages.
        guarded: it is a gateway's: refuse it where others may change it, and warn where every user may read it.

    Raises:
        ConfigError: it cannot be used. The message never has the secret.
    """
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            why = why_not(status, path) if guarded else ""
            if why:
                raise ConfigError(f"{what}: {why}")
            if guarded and status.st_mode & stat.S_IROTH:
                _log.warning(f"{what} can be read by every user of this machine: run `chmod o-r {path}`")
            text = file.read(LARGEST_SECRET).decode("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: {path} is no text") from None
    if not text:
        raise ConfigError(f"{what}: {path} is empty")
    return text
