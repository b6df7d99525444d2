"""The policy of a gateway: from a file or from the bucket, again when it changed; what can't be used changes nothing.

Without login everybody may do everything, and with login but without a policy nobody anything. A bucket that does not
answer, however long, leaves the last policy in force; so does a file, or an object, that is gone. `start` looks every
few seconds, so that a change is known within ten. Any thread.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from auth.policy import CLOSED, LARGEST, OPEN, Policy, PolicyError, parse_policy, policy_text
from gateway.access.current import BUCKET_S, FILE_S, Current, Watch, WatchedFile
from gateway.access.policy_object import read_policy
from gateway.config import ConfigError, Settings
from store.catalogue.catalogue import Seen
from store.errors import ObjectMissing
from store.objects.base import ObjectStore

STORE: Final = "store"  # as a setting: the policy lies in the bucket
IN_BUCKET: Final = "the policy in the bucket"

_log = structlog.stdlib.get_logger("aetherfs.access")


class PolicySource:
    """Where a gateway's policy is from."""

    def __init__(self, settings: Settings, objects: ObjectStore | None = None, *, seen: Seen | None = None) -> None:
        """Read the policy.

        Args:
            settings: say where it lies.
            objects: the store, in plain, for a policy that lies there.
            seen: told how often the one in the bucket was written; see `gateway.stores.Opened`.

        Raises:
            ConfigError: there is a policy, or should be a file, that can't be used.
            StoreError: the bucket does not say.
        """
        self._current: Current[Policy] | None = None
        self._listeners: list[Callable[[Policy], None]] = []
        self._fixed = CLOSED if settings.login else OPEN
        self._every_s = FILE_S
        if settings.auth.policy == STORE:
            if objects is None:
                raise ConfigError('auth.policy is "store", and there is no store here')
            self._every_s = BUCKET_S
            self._current = Current(IN_BUCKET, InBucket(objects, seen).fetch, lambda data: parsed(IN_BUCKET, data))
        elif settings.auth.policy:
            path = Path(settings.auth.policy)
            what = f"the policy {path}"
            file = WatchedFile(path, "the policy", limit=LARGEST)
            self._current = Current(what, file.read, lambda data: parsed(what, data))
        elif settings.login:
            _log.warning("there is login but no policy (auth.policy): nobody may do anything")

    @property
    def policy(self) -> Policy:
        """Return the policy of the moment. Never waits."""
        return self._fixed if self._current is None else self._current.value

    @property
    def generation(self) -> int:
        """Return a number that grows with each change, after `policy` has changed."""
        return 0 if self._current is None else self._current.generation

    def on_change(self, listener: Callable[[Policy], None]) -> None:
        """Have somebody told of each new policy. Called by any thread."""
        self._listeners.append(listener)

    def refresh(self) -> bool:
        """Look whether the policy was changed; see `Current.refresh`. Asks the bucket, if it lies there."""
        changed = self._current is not None and self._current.refresh()
        if changed:
            for listener in self._listeners:
                listener(self.policy)
        return changed

    def start(self) -> Watch | None:
        """Look every few seconds from now on, until what is returned is closed; `None`: there is nothing to look at."""
        return None if self._current is None else Watch(self.refresh, self._every_s)


class InBucket:
    """The policy in the bucket, as bytes."""

    def __init__(self, objects: ObjectStore, seen: Seen | None = None) -> None:
        self._objects, self._seen = objects, seen
        self._etag: str | None = None

    def fetch(self) -> bytes | None:
        """Return the policy, `None` while it is the one that was returned last; errors as `read_policy`.

        Where there is none at first, it is the empty one, which allows nothing. Where there is none any more, the last
        one stays: a policy is replaced by another, and never removed.

        Raises:
            ConfigError: it was removed.
        """
        try:
            stored = read_policy(self._objects, unless=self._etag or None, seen=self._seen)
        except ObjectMissing:
            if self._etag:
                raise ConfigError("it was removed: `aetherfs policy set FILE` puts one there") from None
            if self._etag is None:
                self._etag = ""
                _log.warning("there is no policy in the bucket: nobody may do anything until `aetherfs policy set`")
                return b""
            return None
        if stored is None:
            return None
        self._etag = stored.etag
        return stored.text.encode()


def parsed(source: str, data: bytes) -> Policy:
    """Read a policy.

    Raises:
        ConfigError: it can't be used; the message says where and why.
    """
    try:
        return parse_policy(policy_text(data))
    except PolicyError as error:
        raise ConfigError(f"{source}, {error}") from error
