"""Tokens: passwords of programs, each good for a few actions on some datasets, for some time.

    aefs_<id>_<secret>     id: 10 characters, which are no secret; secret: 40 characters, 200 random bits

Both are lower-case base32 (RFC 4648 section 6) without padding, so that a token is as it is in URLs, header fields,
paths of mounts and shells, and a double click selects the whole of it. Of a secret only a digest is kept: it is as
random as a key, so that one SHA-256 is enough; the id stands in it, so that no digest serves for another token.

Drawing a token takes the system's randomness; all else is pure. Any thread. docs/format.md, Tokens.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from auth.errors import BadCredentials
from auth.patterns import check_pattern
from auth.principal import LONGEST_NAME, Action, Grant, Kind, Principal, user

PREFIX: Final = "aefs_"
ID_LENGTH: Final = 10
SECRET_LENGTH: Final = 40
LENGTH: Final = len(PREFIX) + ID_LENGTH + 1 + SECRET_LENGTH  # characters of a token
HTTP: Final = "http"  # for all but NFS
NFS: Final = "nfs"  # for paths of mounts alone, and for reading alone
KINDS: Final = (HTTP, NFS)
MOST_RULES: Final = 64  # of one token
NAME_LIMIT: Final = 64  # characters
LONGEST_S: Final = 3650 * 86_400  # seconds that a token may live, if it does not live for ever
NEVER: Final = 0
DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_TEXT: Final = re.compile(rf"{PREFIX}([a-z2-7]{{{ID_LENGTH}}})_([a-z2-7]{{{SECRET_LENGTH}}})", re.ASCII)
_ID: Final = re.compile(rf"[a-z2-7]{{{ID_LENGTH}}}", re.ASCII)
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@+-]{{0,{NAME_LIMIT - 1}}}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MOST_GROUPS: Final = 1000
_LATEST: Final = 2**63 - 1  # ns


class TokenUnusable(ValueError):
    """A token cannot be made so, or what is kept of one cannot be read. The message is finished."""


class TooManyTokens(TokenUnusable):
    """A user has as many tokens as anybody may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"you have {most:,} tokens that are good: revoke one (`aetherfs token ls`), then make another")


class TokenText(NamedTuple):
    """A token, as its holder shows it. Its `repr` keeps the secret to itself."""

    id: str
    secret: str

    def __str__(self) -> str:
        """Write it as it is given to its holder."""
        return f"{PREFIX}{self.id}_{self.secret}"

    def __repr__(self) -> str:
        """Name the token without its secret."""
        return f"TokenText({self.id!r}, ...)"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token. Times are ns since 1970, UTC; 0: never."""

    id: str
    name: str
    kind: str  # HTTP or NFS
    digest: str  # of the secret: `digest_of`
    grants: tuple[Grant, ...]
    owner: Principal | None  # the user who made it, with the groups that they had; `None`: whoever has the store's key
    created_ns: int
    expires_ns: int = NEVER
    revoked_ns: int = NEVER

    def ended(self, now_ns: int) -> str:
        """Say why it is good for nothing any more; empty: it is not so."""
        if self.revoked_ns:
            return "revoked"
        return "expired" if self.expires_ns and now_ns >= self.expires_ns else ""


def new_text() -> TokenText:
    """Draw a token."""
    return TokenText(_draw(ID_LENGTH), _draw(SECRET_LENGTH))


def parse_text(text: str) -> TokenText:
    """Read a token as its holder shows it.

    Raises:
        BadCredentials: it is none. The message does not repeat it.
    """
    found = _TEXT.fullmatch(text) if len(text) == LENGTH else None
    if found is None:
        raise BadCredentials("what was given is no token")
    return TokenText(found[1], found[2])


def is_id(text: str) -> bool:
    """Tell whether a text can be a token's id."""
    return _ID.fullmatch(text) is not None


def digest_of(text: TokenText) -> str:
    """Return what is kept of a secret: 64 hex digits."""
    return hashlib.sha256(f"aetherfs/1/token/{text.id}/{text.secret}".encode()).hexdigest()


def check_token(record: TokenRecord, text: TokenText, *, kind: str, now_ns: int) -> Principal:
    """Return who asks with a token.

    Args:
        record: what is kept under its id.
        text: what was shown.
        kind: where it was shown: HTTP or NFS.
        now_ns: the time.

    Raises:
        BadCredentials: another secret, another kind, revoked or expired.
    """
    if not hmac.compare_digest(record.digest, digest_of(text)) or record.id != text.id:
        raise BadCredentials(f"not the secret of token {record.id}")
    return check_record(record, kind=kind, now_ns=now_ns)


def check_record(record: TokenRecord, *, kind: str, now_ns: int) -> Principal:
    """Return who asks where the secret was shown before, as with a file handle; errors as `check_token`."""
    if record.kind != kind:
        raise BadCredentials(f"token:{record.name} is for {record.kind} alone")
    why = record.ended(now_ns)
    if why:
        raise BadCredentials(f"token:{record.name} is {why}")
    return principal_of(record)


def principal_of(record: TokenRecord) -> Principal:
    """Return the principal that a token stands for."""
    return Principal(Kind.TOKEN, record.name, grants=record.grants, owner=record.owner)


def parse_name(text: str) -> str:
    """Check a token's name and return it.

    Raises:
        TokenUnusable: it can't be one.
    """
    if _TEXT.fullmatch(text):
        raise TokenUnusable("that is a token itself and no name of one, which logs and lists would show")
    if not _NAME.fullmatch(text):
        raise TokenUnusable(
            f"{text[:80]!r} is no name of a token: up to {NAME_LIMIT} letters, digits and . _ @ + -, the first a "
            "letter or digit"
        )
    return text


def parse_rule(text: str) -> Grant:
    """Read `ACTIONS:PATTERN`, such as `read,push:@geo/*`.

    Raises:
        TokenUnusable: it is no rule; the message says what is wrong with which.
    """
    actions_text, colon, pattern = text.partition(":")
    if not colon:
        raise TokenUnusable(f"{text[:80]!r} is no rule: write ACTIONS:PATTERN, such as read:@geo/* or read,push:maps")
    known = {str(action): action for action in Action}
    actions = [action.strip() for action in actions_text.split(",")]
    for action in actions:
        if action not in known:
            raise TokenUnusable(
                f"{text[:80]!r}: {action[:40]!r} is no action; before the colon stand some of {', '.join(known)}"
            )
    try:
        check_pattern(pattern)
    except ValueError as error:
        raise TokenUnusable(f"{text[:80]!r}: {error}") from error
    return Grant(frozenset(known[action] for action in actions), pattern)


def parse_rules(texts: Sequence[str], *, kind: str) -> tuple[Grant, ...]:
    """Read the rules of one token.

    Raises:
        TokenUnusable: none, too many, one that is no rule, or one that its kind does not have.
    """
    if not 1 <= len(texts) <= MOST_RULES:
        raise TokenUnusable(f"a token has 1 to {MOST_RULES} rules, such as read:@geo/*; got {len(texts)}")
    grants = tuple(dict.fromkeys(parse_rule(text) for text in texts))
    for grant in grants:
        if kind == NFS and grant.actions != {Action.READ}:
            raise TokenUnusable(f"{grant}: a token for NFS is for reading alone; write read:{grant.pattern}")
    return grants


def parse_duration(text: str) -> int:
    """Read how long a token lives, `90s`, `15m`, `12h`, `30d` or `2w`; return seconds.

    Raises:
        TokenUnusable: it is no such time, or longer than ten years.
    """
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_S:
        raise TokenUnusable(f"{text[:80]!r} is no time such as 15m, 12h, 30d or 2w, of at most ten years")
    return seconds


def document_of(record: TokenRecord) -> dict[str, Any]:
    """Return a record as values of JSON."""
    owner = record.owner
    return {
        "id": record.id,
        "name": record.name,
        "kind": record.kind,
        "digest": record.digest,
        "rules": [str(grant) for grant in record.grants],
        "owner": None if owner is None else {"user": owner.name, "groups": sorted(owner.groups)},
        "created": record.created_ns,
        "expires": record.expires_ns,
        "revoked": record.revoked_ns,
    }


def record_of(document: Mapping[str, Any]) -> TokenRecord:
    """Read what `document_of` wrote; fields that are not known do not count.

    Raises:
        TokenUnusable: it is no record. One that can't be understood whole grants nothing.
    """
    rules = document.get("rules")
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise TokenUnusable("rules is no list of text")
    kind = _text(document, "kind", re.compile("|".join(KINDS)))
    times = [_time(document, name) for name in ("created", "expires", "revoked")]
    return TokenRecord(
        _text(document, "id", _ID),
        _text(document, "name", _NAME),
        kind,
        _text(document, "digest", _DIGEST),
        parse_rules(rules, kind=kind),
        _owner(document.get("owner")),
        *times,
    )


def _owner(value: object) -> Principal | None:
    if value is None:
        return None
    name, groups = (value.get("user"), value.get("groups")) if isinstance(value, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(groups, list) or len(groups) > _MOST_GROUPS:
        raise TokenUnusable("owner is no user with groups")
    if not all(isinstance(word, str) and 0 < len(word) <= LONGEST_NAME for word in (name, *groups)):
        raise TokenUnusable(f"names of the owner and its groups have 1 to {LONGEST_NAME} characters")
    return user(name, frozenset(groups))


def _text(document: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise TokenUnusable(f"{name} is {repr(value)[:60]}")
    return value


def _time(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LATEST:
        raise TokenUnusable(f"{name} is {repr(value)[:60]}, no time in nanoseconds")
    return value


def _draw(length: int) -> str:
    return "".join(secrets.choice(DIGITS) for _ in range(length))
