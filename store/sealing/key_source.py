"""Who has the key-encryption key of a store: a key given as bytes, or AWS KMS.

A source opens an envelope, and makes one for a new store or for `key rotate`. With KMS the key-encryption key is drawn
by KMS (GenerateDataKey), stands encrypted in the store's record, and is decrypted by KMS at each start; the store's id
is its encryption context, so that it serves no other store. Any thread; those of KMS block.
"""

import base64
import binascii
import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from store.errors import KeyNeeded, KeyWrong, StoreUnavailable
from store.sealing.envelope import Envelope, Kek, check_of, new_envelope, opened, rewrapped
from store.sealing.secret_keys import KEY_SIZE, KeyRing
from store.secret import Secret

_LARGEST: Final = 4096  # bytes of a key file that are looked at


class Drawn(NamedTuple):
    """A key-encryption key for new wrappings, and what the record says of it."""

    kek: Secret
    about: Kek


class KeySource(Protocol):
    """Has the key of a store."""

    @property
    def where(self) -> str:
        """Where the key comes from, for messages: never the key."""
        ...

    def kek(self, envelope: Envelope, store: str) -> Secret:
        """Return the key-encryption key of an envelope; `store` is the store's id.

        Raises:
            KeyWrong, KeyNeeded: another kind is wanted, or it can't be used.
            StoreUnavailable: KMS did not answer.
        """
        ...

    def draw(self, store: str) -> Drawn:
        """Return a key-encryption key to wrap with; errors as `kek`."""
        ...


class GivenKey:
    """A key that was given: 32 bytes."""

    def __init__(self, key: Secret, where: str) -> None:
        """Take a key; `where` says where it came from, for messages."""
        self._key, self.where = key, where

    def kek(self, envelope: Envelope, store: str) -> Secret:
        """Return the key; see `KeySource`."""
        if envelope.kek.kind != "key":
            raise KeyWrong(self.where, f"is not what this store wants: its key is kept by {_named(envelope.kek)}")
        return self._key

    def draw(self, store: str) -> Drawn:
        """Return the key itself; see `KeySource`."""
        return Drawn(self._key, Kek("key", check_of(self._key)))


class KmsKey:
    """A key that AWS KMS keeps."""

    def __init__(self, key: str, client: Callable[[], Any]) -> None:
        """Name it.

        Args:
            key: its id, ARN or alias.
            client: makes the boto3 client of KMS.
        """
        self._key, self._client = key, client
        self.where = f"AWS KMS ({key})"

    def kek(self, envelope: Envelope, store: str) -> Secret:
        """Have KMS decrypt the key-encryption key; see `KeySource`."""
        if envelope.kek.kind != "aws-kms":
            raise KeyWrong(self.where, "is not what this store wants: its key is in a file")
        try:
            blob = base64.b64decode(envelope.kek.blob, validate=True)
        except (binascii.Error, ValueError) as error:
            raise KeyWrong(self.where, "cannot be used: the record's encrypted key is no base64") from error
        about = {"CiphertextBlob": blob, "KeyId": self._key, "EncryptionContext": _context(store)}
        return Secret(self._ask("decrypt", wanted=envelope.kek.key, **about)["Plaintext"])

    def draw(self, store: str) -> Drawn:
        """Have KMS draw a key-encryption key; see `KeySource`."""
        answer = self._ask(
            "generate_data_key", KeyId=self._key, NumberOfBytes=KEY_SIZE, EncryptionContext=_context(store)
        )
        kek = Secret(answer["Plaintext"])
        blob = base64.b64encode(answer["CiphertextBlob"]).decode()
        return Drawn(kek, Kek("aws-kms", check_of(kek), str(answer.get("KeyId", self._key)), blob))

    def _ask(self, operation: str, *, wanted: str = "", **given: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client(), operation)(**given)
        except ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            why = ": ".join(filter(None, (said.get("Code", "error"), str(said.get("Message", ""))[:200])))
            if status >= 500 or "Throttl" in str(said.get("Code")):
                raise StoreUnavailable(self.where, why) from error
            other = f"; by its record this store's key is {wanted}" if wanted not in ("", self._key) else ""
            raise KeyWrong(self.where, f"cannot be used: KMS says {why}{other}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(self.where, str(error)) from error


def _context(store: str) -> dict[str, str]:
    return {"aetherfs:store": store}


def _named(kek: Kek) -> str:
    return f"AWS KMS ({kek.key}): set store.kms_key"


def wanted(envelope: Envelope) -> str:
    """Say in a sentence what opens a store, for who has nothing."""
    if envelope.kek.kind == "aws-kms":
        return f"its key is kept by AWS KMS: set store.kms_key (AETHERFS_STORE_KMS_KEY) to {envelope.kek.key}"
    return f"give key {envelope.kek.check} as a file (--key-file, AETHERFS_KEY_FILE, store.key_file) or as AETHERFS_KEY"


def unlock_with(source: KeySource | None) -> Callable[[Envelope, str], KeyRing]:
    """Return what opens a store's record by a source; `None`: there is no key."""

    def unlock(envelope: Envelope, store: str) -> KeyRing:
        if source is None:
            raise KeyNeeded(store[:12], wanted(envelope))
        return opened(source.kek(envelope, store), envelope, store, source.where)

    return unlock


def make_envelope(source: KeySource, store: str, created_ns: int) -> tuple[Envelope, KeyRing]:
    """Draw the secrets of a new store."""
    kek, about = source.draw(store)
    envelope = new_envelope(kek, about, store, created_ns)
    return envelope, opened(kek, envelope, store, source.where)


def rewrap(source: KeySource, ring: KeyRing, envelope: Envelope, store: str) -> Envelope:
    """Wrap a store's secrets by another key-encryption key."""
    kek, about = source.draw(store)
    return rewrapped(ring, kek, about, envelope, store)


def parse_key(text: str, where: str) -> Secret:
    """Read a key as it is written: base64 of 32 bytes; white space and lines that begin with `#` are passed over.

    Raises:
        KeyWrong: it is none. The message does not repeat what was read.
    """
    lines = (line.strip() for line in text.splitlines())
    bare = "".join("".join(line for line in lines if not line.startswith("#")).split())
    bare = bare.replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyWrong(where, f"is no key: base64 of {KEY_SIZE} bytes is expected")
    return Secret(key)


def spell_key(key: Secret) -> str:
    """Write a key as `parse_key` reads it."""
    return base64.b64encode(key.reveal()).decode()


def read_key_file(path: Path) -> GivenKey:
    """Read a key file.

    Raises:
        KeyWrong: it can't be read, others may read it, or it holds no key.
    """
    where = f"file {path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _LARGEST) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeyWrong(where, f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise KeyWrong(where, "cannot be read: it is a folder, a pipe or a device, and no file")
    if status.st_mode & 0o077:
        raise KeyWrong(where, f"is not used: others may read it; run `chmod 600 {path}`, and think who may have it")
    return GivenKey(parse_key(data.decode("utf-8-sig", "replace"), where), where)


def make_key_file(path: Path) -> GivenKey:
    """Make a key file that nobody else may read, durably: it is there whole, or not at all.

    Raises:
        FileExistsError: there is one.  OSError: it can't be written.
    """
    return _write_key_file(path, Secret(os.urandom(KEY_SIZE)))


def copy_key_file(path: Path, to: Path) -> None:
    """Keep a key under another name, durably; one that is there stays.

    Raises:
        KeyWrong, OSError: it can't be read, or written.
    """
    with contextlib.suppress(FileExistsError):
        _write_key_file(to, read_key_file(path).draw("").kek)


def _write_key_file(path: Path, key: Secret) -> GivenKey:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"# The key of an AetherFS store: whoever has it reads everything. Key {check_of(key)}.\n")
            file.write(f"{spell_key(key)}\n")
            file.flush()
            os.fsync(descriptor)
        _put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return GivenKey(key, f"file {path}")


def _put(temporary: Path, path: Path) -> None:
    """Give a file its name, unless another has it."""
    try:
        os.link(temporary, path)  # unlike a rename, it replaces nothing
    except OSError as error:
        if isinstance(error, FileExistsError) or os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path)) from None
        os.rename(temporary, path)  # a file system without links
