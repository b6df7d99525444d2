"""Where the key of an encrypted store comes from: settings, environment, AWS KMS, or this user's own key folder.

    store.key_file (--key-file, AETHERFS_KEY_FILE)   a file that nobody else may read
    AETHERFS_KEY                                     the key itself, base64
    store.kms_key                                    a key of AWS KMS
    none of them                                     aetherfs/keys/<store id>.key in the user's configuration folder

A key is never given on a command line. Plain functions; any thread.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config import KEY_VARIABLE, Settings, key_given, own_key_file
from store.errors import KeyNeeded, KeyWrong
from store.sealing.envelope import Envelope, check_of
from store.sealing.key_source import (
    Drawn,
    GivenKey,
    KeySource,
    KmsKey,
    copy_key_file,
    make_key_file,
    parse_key,
    read_key_file,
    wanted,
)
from store.secret import Secret

NEXT: Final = ".next"  # beside a key file: the key that `key rotate` is about to put in its place
KMS_TIMEOUT_S: Final = 10.0  # for an answer; how often it is asked is set as for all of AWS (AWS_MAX_ATTEMPTS)
OLD: Final = ".old"  # beside a key file: one that was replaced


def key_source(settings: Settings, environ: Mapping[str, str] | None = None) -> KeySource:
    """Return who has the key by the settings.

    Raises:
        ConfigError: several ways are given.  KeyWrong: what is given is no key.
    """
    variables = os.environ if environ is None else environ
    match key_given(settings, variables):
        case "store.key_file":
            return KeyFile(Path(settings.store.key_file))
        case "store.kms_key":
            return KmsKey(settings.store.kms_key, lambda: kms_client(settings.store.kms_key))
        case "":
            return OwnKeys()
    where = f"variable {KEY_VARIABLE}"
    return GivenKey(parse_key(variables[KEY_VARIABLE], where), where)


def kms_client(key: str) -> Any:
    """Make the boto3 client of KMS, in the region that an ARN names."""
    import boto3
    from botocore.config import Config

    parts = key.split(":")
    region = parts[3] if len(parts) > 5 and parts[0] == "arn" else None
    patience = Config(connect_timeout=KMS_TIMEOUT_S, read_timeout=KMS_TIMEOUT_S)
    return boto3.session.Session().client("kms", region_name=region, config=patience)


class KeyFile:
    """A key file, read when it is needed. A `key rotate` that was ended half-way is finished.

    While keys are exchanged (`alone`), the folder is locked (flock), so that nobody puts a key in place that no record
    has yet. A key that goes may be that of other stores too: it is kept beside the file.
    """

    def __init__(self, path: Path, *, keep: bool = True) -> None:
        """Name the file; `keep`: the key that goes, too."""
        self.path = path
        self.where = f"file {path}"
        self.kept: Path | None = None  # where the key is that was replaced
        self._keep, self._alone = keep, False

    def kek(self, envelope: Envelope, store: str) -> Secret:
        """Return the key; see `KeySource`."""
        following = self.path.with_name(self.path.name + NEXT)
        if following.exists():
            with contextlib.suppress(KeyWrong):
                coming = read_key_file(following).kek(envelope, store)
                if check_of(coming) == envelope.kek.check:  # the record has it already: only this was left to be done
                    with contextlib.suppress(OSError, KeyWrong):
                        self._finish(envelope.kek.check)
                    return coming
        return read_key_file(self.path).kek(envelope, store)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else exchanges keys in this folder, and keep others from it."""
        with _locked(self.path.parent, wait=True):
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def _finish(self, check: str) -> None:
        """Put the next key in place if it is still the one that the record has, and nobody is exchanging keys."""
        following = self.path.with_name(self.path.name + NEXT)
        with contextlib.nullcontext() if self._alone else _locked(self.path.parent, wait=False):
            if check_of(read_key_file(following).draw("").kek) == check:
                os.replace(following, self.path)

    def draw(self, store: str) -> Drawn:
        """Return the key in the file; see `KeySource`."""
        return read_key_file(self.path).draw(store)

    def draw_next(self, store: str) -> Drawn:
        """Make the key that is to replace this one, beside it; one that an earlier attempt left there is taken."""
        following = self.path.with_name(self.path.name + NEXT)
        if self._keep:
            self.kept = self.path.with_name(f"{self.path.name}.{self.draw(store).about.check}{OLD}")
            copy_key_file(self.path, self.kept)
        try:
            return make_key_file(following).draw(store)
        except FileExistsError:
            return read_key_file(following).draw(store)

    def replace(self) -> None:
        """Put the next key in the place of this one: its record has it. Within `alone`."""
        os.replace(self.path.with_name(self.path.name + NEXT), self.path)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder's lock; without `wait`, raise `OSError` where another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class OwnKeys:
    """The keys in this user's configuration folder, by store."""

    where = "this user's key folder"

    def kek(self, envelope: Envelope, store: str) -> Secret:
        """Return the key of a store; see `KeySource`."""
        path = own_key_file(store)
        if envelope.kek.kind != "key" or not path.exists():
            raise KeyNeeded(store[:12], wanted(envelope))
        return KeyFile(path, keep=False).kek(envelope, store)

    def draw(self, store: str) -> Drawn:
        """Return the key of a store; see `KeySource`."""
        return KeyFile(own_key_file(store), keep=False).draw(store)
