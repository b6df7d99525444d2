"""The policy in the bucket: one object, read with its digest and replaced by compare-and-set. docs/format.md, Policy.

    auth/policy    {"format": 1, "seq": n, "operations": [...], "text": TOML, "changed": ns, "by": who}

What is written has been parsed; what is read is for the reader to parse. Functions; any thread; they block on the
bucket.
"""

from typing import Final, NamedTuple

from auth.policy import LARGEST, PolicyError, digest_of, parse_policy
from gateway.errors import PolicyMoved
from store import jsondoc
from store.catalogue.catalogue import Seen
from store.commit import compare_and_set, remember
from store.errors import FeatureMissing, ObjectCorrupt, ObjectMissing, Replayed
from store.layout import POLICY_KEY
from store.objects.base import ObjectStore

FORMAT: Final = 1
LIMIT: Final = 3 << 20  # bytes of the object: a policy's text, whose quotes and line ends take two each, and the rest
NONE: Final = ""  # the digest where there is no policy
SHORTEST: Final = 12  # digits by which a policy may be named
_BY: Final = 256  # characters


class StoredPolicy(NamedTuple):
    """The policy as it lies in the bucket."""

    text: str
    digest: str  # SHA-256 of the text, hex
    seq: int
    changed_ns: int
    by: str  # who changed it, for people
    etag: str


def read_policy(objects: ObjectStore, *, unless: str | None = None, seen: Seen | None = None) -> StoredPolicy | None:
    """Return the policy, `None` while its ETag is `unless`.

    Args:
        objects: the store, in plain.
        unless: an ETag that was read before.
        seen: told how often the policy was written; see `gateway.stores.Opened`.

    Raises:
        ObjectMissing: there is none.
        ObjectCorrupt: it can't be read.  FeatureMissing: it is of a later format.
        Replayed: a later one was seen here before.
    """
    try:
        found = objects.fetch(POLICY_KEY, unless=unless)
    except ObjectMissing:
        _note(seen, 0)
        raise
    if found is None:
        return None
    stored = decode_policy(found.data)._replace(etag=found.etag)
    _note(seen, stored.seq)
    return stored


def write_policy(
    objects: ObjectStore, text: str, *, by: str, expect: str | None = None, seen: Seen | None = None
) -> StoredPolicy:
    """Replace the policy; the same text again changes nothing.

    Args:
        objects: the store, in plain.
        text: of the new policy.
        by: who does it, for people.
        expect: the digest of the policy that it replaces, or its first 12 digits or more; `NONE`: there is none yet;
            `None`: whatever there is.
        seen: as in `read_policy`.

    Raises:
        PolicyError: the text is none; nothing was written.
        PolicyMoved: there is another one than was expected.
        ObjectCorrupt, FeatureMissing, Replayed: as `read_policy`; nothing was written.
        Contended, OutcomeUnknown: as `store.commit.compare_and_set`.
    """
    parse_policy(text)
    ours = b""
    now_ns = objects.now_ns()

    def decide(old: bytes | None, operation: str) -> bytes | None:
        nonlocal ours
        fields = jsondoc.Fields(POLICY_KEY, {}, "document") if old is None else _fields(old)
        before = None if old is None else decode_policy(old)
        _note(seen, before.seq if before else 0)
        if expect is not None and not _is(before, expect):
            raise PolicyMoved(expect, before.digest if before else NONE, before.by if before else "")
        if before is not None and before.text == text:
            return None
        seq = (before.seq if before else 0) + 1
        operations = remember(jsondoc.operations(fields), seq, operation)
        ours = jsondoc.encode(
            {
                **fields.rest(),
                "format": FORMAT,
                "seq": seq,
                "operations": [[*pair] for pair in operations],
                "text": text,
                "changed": now_ns,
                "by": by[:_BY],
            }
        )
        return ours

    done = compare_and_set(objects, POLICY_KEY, decide)
    if not done.written:
        return decode_policy(done.data or b"")._replace(etag=done.etag)
    stored = decode_policy(ours)  # somebody may have replaced it since: then the ETag is of theirs
    _note(seen, stored.seq)
    return stored._replace(etag=done.etag if done.data == ours else "")


def decode_policy(data: bytes) -> StoredPolicy:
    """Read the object; errors as `read_policy`. The ETag is left empty."""
    fields = _fields(data)
    text = fields.text("text", limit=LARGEST)
    try:
        digest = digest_of(text)
    except PolicyError as error:
        raise ObjectCorrupt(POLICY_KEY, str(error)) from error
    by = fields.text("by", limit=_BY, default="")
    return StoredPolicy(text, digest, fields.integer("seq"), fields.integer("changed"), by, "")


def _fields(data: bytes) -> jsondoc.Fields:
    fields = jsondoc.decode(POLICY_KEY, data, limit=LIMIT)
    found = fields.integer("format")
    if found != FORMAT:
        raise FeatureMissing("read the policy of", [f"{POLICY_KEY} of format {found}"])
    return fields


def _is(stored: StoredPolicy | None, expected: str) -> bool:
    if stored is None or len(expected) < SHORTEST:
        return stored is None and expected == NONE
    return stored.digest.startswith(expected.lower())


def _note(seen: Seen | None, seq: int) -> None:
    if seen is None:
        return
    try:
        seen(POLICY_KEY, seq)
    except Replayed as error:
        raise Replayed("the policy", error.seq, error.seen) from error
