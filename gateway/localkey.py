"""The local key: seals what this user's disk cache keeps of plain stores. It belongs to one machine and is never moved.

    cache.key = "file"      `local.key`, 32 bytes that only this user may read, in the user's state directory
    cache.key = "keyring"   the system's keyring (Secret Service, macOS Keychain), by the library `keyring`

It is made when it is first needed, and may be deleted at any time: what was cached is worthless then, and begins anew.
It lies apart from the cache, so that a copy of the cache folder does not hold it. Processes that need it at once agree
on one by a lock. Plain functions; any thread; a keyring may wait for its user (`gateway.keyrings`).
"""

import base64
import binascii
import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from gateway.config import KEYRING, ConfigError, Settings, state_dir
from gateway.keyrings import SERVICE, NoKeyring, ask_keyring
from gateway.whole_file import replace_file
from store.secret import Secret

KEY_SIZE: Final = 32
ENTRY: Final = "disk cache"  # under this name it lies in a keyring
_RATHER: Final = 'or set cache.key = "file"'


def key_file() -> Path:
    """Name the key file."""
    return state_dir() / "local.key"


def local_key(settings: Settings) -> Secret:
    """Return the local key; make it if there is none.

    Raises:
        ConfigError: there is one that can't be used, or no keyring to ask. The message says what to do.
        OSError: there is none, and none can be made.
    """
    found = find_key(settings)
    if found is not None:
        return found
    with _locked(state_dir()):
        found = find_key(settings)  # another process may have been faster
        if found is not None:
            return found
        key = Secret(secrets.token_bytes(KEY_SIZE))
        return _keep_in_keyring(key) if settings.cache.key == KEYRING else _make(key_file(), key)


def find_key(settings: Settings) -> Secret | None:
    """Return the local key, `None` if there is none yet.

    Raises:
        ConfigError: as `local_key`.
    """
    if settings.cache.key == KEYRING:
        text = _ask(lambda keyring: keyring.get_password(SERVICE, ENTRY))
        return _parse(text) if text is not None else None
    return _read(key_file())


def _read(path: Path) -> Secret | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            data = file.read(KEY_SIZE + 1) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        if not os.path.lexists(path):  # as far as this user can tell: a folder above it is closed, or is none
            return None
        raise ConfigError(
            f"the key of the disk cache, {path}, cannot be read: {error.strerror}; let this user read it, or delete it"
        ) from error
    if len(data) != KEY_SIZE:
        raise ConfigError(
            f"the key of the disk cache, {path}, is no file of {KEY_SIZE} bytes: delete it, and the cache begins anew"
        )
    if status.st_mode & 0o077:
        raise ConfigError(
            f"the key of the disk cache, {path}, may be read or changed by others: run `chmod 600 {path}`, or delete "
            "it, and the cache begins anew"
        )
    return Secret(data)


def _make(path: Path, key: Secret) -> Secret:
    """Make the key file, whole or not at all. Whoever calls has the lock."""
    replace_file(path, key.reveal())
    return key


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time make the key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "local.key.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keep_in_keyring(key: Secret) -> Secret:
    def keep(keyring: ModuleType) -> str | None:
        keyring.set_password(SERVICE, ENTRY, base64.b64encode(key.reveal()).decode())
        kept: str | None = keyring.get_password(SERVICE, ENTRY)
        return kept

    text = _ask(keep)
    if text is None:
        raise ConfigError(f'cache.key is "keyring", and the keyring keeps nothing: choose another one, {_RATHER}')
    return _parse(text)


def _parse(text: str) -> Secret:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise ConfigError(
            "what the keyring has is no key of a disk cache: delete it, and the cache begins anew: "
            f"keyring del {SERVICE} '{ENTRY}'"
        )
    return Secret(key)


def _ask(question: Callable[[ModuleType], str | None]) -> str | None:
    try:
        return ask_keyring(question)
    except NoKeyring as error:
        raise ConfigError(f'cache.key is "keyring", and {error}, {_RATHER}') from error
