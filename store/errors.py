"""Every error that the store raises: one root, branches by what the caller can do about it, leaves by cause.

The branches (`Missing`, `Conflict`, `Corrupt`, `Unavailable`, `Refused`, `Unusable`) are never raised themselves.
A leaf carries its fields and a finished message: what, which one, expected, got. No status code stands here:
each front end owns one table from leaf to its own code, and a test walks these classes to prove it complete.
"""

from collections.abc import Sequence


class StoreError(Exception):
    """Root of all errors of the store."""


class Missing(StoreError):
    """What was asked for is not there."""


class Conflict(StoreError):
    """Somebody else got there first, or the name is taken."""


class Corrupt(StoreError):
    """Bytes were read that cannot be what was written."""


class Unavailable(StoreError):
    """The store cannot be reached, or can't take more at the moment."""


class Refused(StoreError):
    """The store, or a rule of ours, does not allow it."""


class Unusable(StoreError):
    """The caller's own input cannot be used."""


# Missing


class ObjectMissing(Missing):
    """No object of that key lies in the store."""

    def __init__(self, key: str, store: str) -> None:
        self.key, self.store = key, store
        super().__init__(f"no object {key!r} in {store}")


class StoreMissing(Missing):
    """The address holds no AetherFS store."""

    def __init__(self, store: str) -> None:
        self.store = store
        super().__init__(f"no AetherFS store at {store}: make one with `aetherfs init`, or check the address")


class DatasetMissing(Missing):
    """No dataset of that name."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        super().__init__(f"no dataset {dataset!r}; `aetherfs ls` shows those there are")


class TagMissing(Missing):
    """The dataset has no such tag, version in range, date or state."""

    def __init__(self, dataset: str, wanted: str) -> None:
        self.dataset, self.wanted = dataset, wanted
        super().__init__(f"{dataset!r} has no {wanted}; `aetherfs ls {dataset}` shows its tags")


class PathMissing(Missing):
    """No entry of that name in a folder of the tree."""

    def __init__(self, name: bytes | str) -> None:
        self.name = name
        super().__init__(f"no such file or folder: {printable(name)}")


class NotAFolder(Missing):
    """A path goes on below something that is not a folder."""

    def __init__(self, name: bytes | str) -> None:
        self.name = name
        super().__init__(f"not a folder: {printable(name)}")


class StaleNode(Missing):
    """A node's state or dataset is no longer in the store."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"no longer in the store: {what}")


class HiddenNode(StaleNode):
    """A node's dataset may not be read by who asks, or not any more. Its message does not tell that it is there."""


class AmbiguousNode(Missing):
    """What a node says of its state fits several: it cannot be told which was meant."""

    def __init__(self, dataset: str, prefix: str) -> None:
        self.dataset, self.prefix = dataset, prefix
        super().__init__(f"several states of {dataset} begin with b3-{prefix}")


# Conflict


class PreconditionFailed(Conflict):
    """A conditional write found another object (or one at all) than it expected."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key!r} was changed by another writer")


class TagExists(Conflict):
    """A version exists, or existed, with other content. Versions never move."""

    def __init__(self, dataset: str, tag: str, has: str, wanted: str) -> None:
        self.dataset, self.tag, self.has, self.wanted = dataset, tag, has, wanted
        super().__init__(
            f"version {dataset}:{tag} is b3-{has[:12]} and versions never move; "
            f"this would be b3-{wanted[:12]}: publish it under a new version"
        )


class TagMoved(Conflict):
    """A channel was moved by another writer since it was looked at."""

    def __init__(self, dataset: str, tag: str, expected: str, actual: str, winner: str) -> None:
        self.dataset, self.tag, self.expected, self.actual, self.winner = dataset, tag, expected, actual, winner
        was = f"b3-{expected[:12]}" if expected else "absent"
        now = f"b3-{actual[:12]}" if actual else "absent"
        super().__init__(f"{dataset}:{tag} was expected to be {was} but is {now} {winner}".rstrip())


class TagNameTaken(Conflict):
    """The name differs from an existing tag's by case alone."""

    def __init__(self, dataset: str, tag: str, existing: str) -> None:
        self.dataset, self.tag, self.existing = dataset, tag, existing
        super().__init__(f"{dataset}:{tag} differs from the tag {existing!r} by upper and lower case alone")


class Contended(Conflict):
    """Other writers kept changing the object for as long as we were willing to try again."""

    def __init__(self, key: str, attempts: int) -> None:
        self.key, self.attempts = key, attempts
        super().__init__(f"{key!r} kept being changed by other writers, {attempts} attempts; try again")


# Corrupt


class ObjectCorrupt(Corrupt):
    """An object's bytes do not decode, or do not match their digest."""

    def __init__(self, key: str, why: str) -> None:
        self.key, self.why = key, why
        super().__init__(f"object {key!r} is damaged: {why}")


class BlockCorrupt(Corrupt):
    """A block's bytes do not hash to its name. Another source may still hold a good copy."""

    def __init__(self, *, expected: bytes, source: str, why: str) -> None:
        self.expected, self.source, self.why = expected, source, why
        super().__init__(f"block {expected.hex()[:12]} from {source} is damaged: {why}")


class Replayed(Corrupt):
    """The store shows an older generation of an object than was seen before: somebody has put it back."""

    def __init__(self, what: str, seq: int, seen: int) -> None:
        self.what, self.seq, self.seen = what, seq, seen
        now = f"is at write {seq}" if seq else "is gone"
        done = "put an older one back" if seq else "removed it"
        super().__init__(
            f"{what} {now}, but write {seen} was seen here before: somebody has {done}; "
            "restore the newer one, or give up what came after it with `aetherfs key forget`"
        )


# Unavailable


class StoreUnavailable(Unavailable):
    """No answer, a reset connection, a time-out, or an answer of the 5xx kind, after retries."""

    def __init__(self, store: str, why: str, retry_after_s: float | None = None) -> None:
        self.store, self.why, self.retry_after_s = store, why, retry_after_s
        super().__init__(f"store {store} cannot be reached: {why}")


class OutcomeUnknown(Unavailable):
    """A conditional write got no clear answer: it may or may not have taken place. The object must be read again."""

    def __init__(self, key: str, why: str, retry_after_s: float | None = None) -> None:
        self.key, self.why, self.retry_after_s = key, why, retry_after_s
        super().__init__(
            f"writing {key!r} got no clear answer: {why}; it may have taken place: look (`aetherfs log`) or repeat it"
        )


class BucketMissing(Unavailable):
    """The bucket that the address names is not there (any more): what it held is not told by that."""

    def __init__(self, store: str) -> None:
        self.store = store
        super().__init__(
            f"the bucket of store {store} is not there: check the address; `aetherfs init` makes a bucket and a store"
        )


class StoreFull(Unavailable):
    """No space left where something had to be written."""

    def __init__(self, where: str, free: int | None = None) -> None:
        """Say it of a place; `free`: bytes that are left there, where that is known."""
        self.where, self.free = where, free
        left = "" if free is None else f" ({free} bytes are free)"
        super().__init__(f"no space left at {where}{left}; free some and run it again: what is done already is kept")


class PushLost(Unavailable):
    """A deletion took a push for dead and went on without it; what the push has found may be gone."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        super().__init__(
            f"this push to {dataset!r} stood still for so long that a deletion went on without it; "
            "push again: what is still there is used"
        )


class NotWarm(Unavailable):
    """Only for callers that asked for an answer from memory alone."""

    def __init__(self) -> None:
        super().__init__("not in memory at the moment")


# Refused


class StoreDenied(Refused):
    """The store did not accept the credentials, or they do not allow this."""

    def __init__(
        self, store: str, why: str, *, action: str = "", cure: str = "check the credentials and their rights"
    ) -> None:
        """Say what was refused.

        Args:
            store: the store's address.
            why: what the store said.
            action: what was asked for, and of which object.
            cure: what to do about it.
        """
        self.store, self.why, self.action = store, why, action
        super().__init__(f"store {store} refused {action or 'it'}: {why}; {cure}")


class FeatureMissing(Refused):
    """The store needs something that this version of AetherFS can't do."""

    def __init__(self, work: str, features: Sequence[str]) -> None:
        self.work, self.features = work, tuple(features)
        super().__init__(
            f"this version of AetherFS can't {work} this store, which needs: {', '.join(features)}; upgrade"
        )


class ConditionsIgnored(Refused):
    """The store does not honour conditional writes."""

    def __init__(self, store: str, why: str) -> None:
        self.store, self.why = store, why
        super().__init__(
            f"store {store} does not honour conditional writes ({why}), so that two writers could overwrite each "
            "other: give --single-writer if you know that there is only one"
        )


class KeyNeeded(Refused):
    """The store is encrypted, and no key of the kind that it wants was given."""

    def __init__(self, store: str, wanted: str) -> None:
        self.store, self.wanted = store, wanted
        super().__init__(f"store {store} is encrypted: {wanted}")


class KeyWrong(Refused):
    """The key that was given does not open the store, or cannot be used at all."""

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(f"the key from {where} {why}")


class NotEncrypted(Refused):
    """A key was given, or the store was encrypted when it was last seen, and now it is not."""

    def __init__(self, store: str, why: str) -> None:
        self.store, self.why = store, why
        super().__init__(f"store {store} is not encrypted, but {why}")


class StoreSwapped(Refused):
    """Another store lies at the address than the one that was there before."""

    def __init__(self, store: str, found: str, pinned: str, why: str = "") -> None:
        self.store, self.found, self.pinned = store, found, pinned
        said = f"at {store} lies the store {found[:12]}, but {pinned[:12]} was there when it was first used here"
        super().__init__(f"{why or said}; if that is right, say so once with `aetherfs key forget`")


class TreeReadOnly(Refused):
    """Published states never change."""

    def __init__(self) -> None:
        super().__init__(
            "this tree is read-only: published states never change; to publish another one: "
            "aetherfs push FOLDER -t NAME:TAG"
        )


# Unusable


class BadName(Unusable):
    """A dataset's or tag's name, or a reference, does not fit the grammar."""

    def __init__(self, text: str, why: str) -> None:
        self.text, self.why = text, why
        super().__init__(f"{text!r}: {why}")


class BadAddress(Unusable):
    """A store's address cannot be used."""

    def __init__(self, address: str, why: str) -> None:
        self.address, self.why = address, why
        super().__init__(f"store address {address!r}: {why}")


class SourceUnusable(Unusable):
    """Entries of the folder being published cannot be read or kept."""

    def __init__(self, entries: Sequence[tuple[bytes, str]]) -> None:
        self.entries = tuple(entries)
        listing = "".join(f"\n  {printable(path)}: {why}" for path, why in self.entries[:50])
        more = f"\n  and {len(self.entries) - 50} more" if len(self.entries) > 50 else ""
        super().__init__(f"cannot publish {_count(self.entries)} (--skip-unreadable leaves them out):{listing}{more}")


class SourceChanged(Unusable):
    """A file kept changing while it was read."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        super().__init__(
            f"{printable(path)} changed while it was read, each time it was tried; push a copy that is at rest"
        )


class DestinationForeign(Unusable):
    """A pull would destroy files that no pull put there, or that were changed since."""

    def __init__(self, dest: str, entries: Sequence[bytes]) -> None:
        self.dest, self.entries = dest, tuple(entries)
        listing = "".join(f"\n  {printable(path)}" for path in self.entries[:50])
        more = f"\n  and {len(self.entries) - 50} more" if len(self.entries) > 50 else ""
        super().__init__(
            f"{dest} holds files that no pull put there or that were changed since "
            f"(--force overwrites them):{listing}{more}"
        )


class DestinationUnusable(Unusable):
    """A pull cannot write where it was told to."""

    def __init__(self, dest: str, why: str) -> None:
        self.dest, self.why = dest, why
        super().__init__(f"cannot pull into {dest}: {why}")


class IsAFolder(Unusable):
    """A file's content was asked for, of something that is not a file."""

    def __init__(self, name: bytes | str) -> None:
        self.name = name
        super().__init__(f"not a file: {printable(name)}")


class NotALink(Unusable):
    """A link's target was asked for, of something that is not a symbolic link."""

    def __init__(self, name: bytes | str) -> None:
        self.name = name
        super().__init__(f"not a symbolic link: {printable(name)}")


def _count(entries: Sequence[object]) -> str:
    return "1 entry" if len(entries) == 1 else f"{len(entries)} entries"


def printable(name: bytes | str) -> str:
    """Spell a name for people: as text where it is text, other bytes and control characters escaped."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() else repr(c)[1:-1].replace("\\udc", "\\x") for c in text)
