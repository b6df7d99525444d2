"""What `aetherfs login` saves: with what a user logs in to which gateway.

    logins.json in the user's configuration folder, that nobody else may read:
    {"version": 1, "servers": {"https://data.example.org": {"kind": "oidc", ...}, "https://other": {"keyring": true}}}

or in the system's keyring, an entry for each gateway. The file is replaced whole. Whoever changes a login holds a lock,
so that two commands do not use up one refresh token. Nothing here is ever printed. Any thread; plain functions.
"""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from gateway.config import APP, ConfigError
from gateway.keyrings import SERVICE, NoKeyring, ask_keyring
from gateway.whole_file import replace_file

LARGEST: Final = 4 << 20  # bytes of the file
VERSION: Final = 1
OIDC: Final = "oidc"  # a user's login with a provider
SERVICE_ACCOUNT: Final = "service"  # a program's
TOKEN: Final = "token"  # noqa: S105  # a token that the gateway made for a user with a password


class Saved(NamedTuple):
    """A login to one gateway."""

    kind: str  # OIDC, SERVICE_ACCOUNT or TOKEN
    bearer: str  # what is sent
    expires_s: float = 0.0  # seconds since 1970; 0: not known
    refresh: str = ""
    issuer: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    scopes: str = ""
    audience: str = ""
    name: str = ""  # of the token


def logins_file() -> Path:
    """Name the file."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False)) / "logins.json"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time change logins."""
    path = logins_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name("logins.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_login(server: str) -> Saved | None:
    """Return what is saved for a gateway.

    Raises:
        ConfigError: the file, or the keyring, can't be used; the message says what to do.
    """
    entry = _read().get(server)
    if entry is not None and entry.get("keyring") is True:
        text = _keyring(lambda keyring: keyring.get_password(SERVICE, _entry(server)))
        entry = _document(text) if text is not None else None
    return _saved(entry) if entry is not None else None


def keep_login(server: str, saved: Saved, *, keyring: bool | None = None) -> None:
    """Save a login. Whoever calls holds the lock.

    Args:
        server: the gateway.
        saved: the login.
        keyring: keep it in the system's keyring; `None`: where one for the gateway is already, else in the file.

    Raises:
        ConfigError: as `find_login`.
        OSError: the file can't be written.
    """
    entries = _read()
    before = entries.get(server, {}).get("keyring") is True
    wanted = before if keyring is None else keyring
    entry: dict[str, Any] = {name: value for name, value in saved._asdict().items() if value}
    if wanted:
        text = json.dumps(entry)
        _keyring(lambda module: module.set_password(SERVICE, _entry(server), text))
        if _keyring(lambda module: module.get_password(SERVICE, _entry(server))) != text:
            raise ConfigError("the keyring keeps nothing: log in without --keyring, or choose another one")
        entry = {"keyring": True}
    elif before:
        _forget_in_keyring(server)
    _write({**entries, server: entry})


def forget_login(server: str) -> bool:
    """Remove what is saved for a gateway; tell whether there was anything. Errors and the lock as `keep_login`."""
    entries = _read()
    entry = entries.pop(server, None)
    if entry is None:
        return False
    if entry.get("keyring") is True:
        _forget_in_keyring(server)
    _write(entries)
    return True


def _entry(server: str) -> str:
    return f"login {server}"


def _forget_in_keyring(server: str) -> None:
    def forget(keyring: Any) -> None:
        if keyring.get_password(SERVICE, _entry(server)) is not None:
            keyring.delete_password(SERVICE, _entry(server))

    _keyring(forget)


def _keyring(question: Any) -> str | None:
    try:
        return ask_keyring(question)
    except NoKeyring as error:
        raise ConfigError(f"the login lies in the keyring, or is to, and {error}") from error


def _read() -> dict[str, dict[str, Any]]:
    path = logins_file()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"the saved logins, {path}, cannot be read: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        data = file.read(LARGEST + 1) if stat.S_ISREG(status.st_mode) else b""
    if status.st_mode & 0o077:
        raise ConfigError(f"the saved logins, {path}, may be read or changed by others: run `chmod 600 {path}`")
    found = _document(data)
    servers = found.get("servers")
    if found.get("version") != VERSION or not isinstance(servers, dict):
        raise ConfigError(f"{path} holds no logins that this version can read: delete it, and log in again")
    return {server: entry for server, entry in servers.items() if isinstance(entry, dict)}


def _document(data: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= LARGEST else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _saved(entry: dict[str, Any]) -> Saved | None:
    kinds = Saved.__annotations__
    try:
        return Saved(**{name: kinds[name](value) for name, value in entry.items() if name in kinds})
    except (TypeError, ValueError):
        return None


def _write(entries: dict[str, dict[str, Any]]) -> None:
    replace_file(logins_file(), json.dumps({"version": VERSION, "servers": entries}, indent=2).encode())
