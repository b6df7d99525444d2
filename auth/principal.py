"""Who asks: users, tokens, and those who did not say.

Values are immutable; any thread.
"""

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

LONGEST_NAME: Final = 256  # characters of a user's or a group's name, wherever it is from


class Action(enum.StrEnum):
    """What may be allowed or denied."""

    READ = "read"
    PUSH = "push"
    TAG = "tag"
    DELETE = "delete"
    ADMIN = "admin"


class Kind(enum.StrEnum):
    """What sort of principal it is; the word before the colon where principals are written."""

    USER = "user"
    TOKEN = "token"  # noqa: S105  # not a password
    ANONYMOUS = "anonymous"


class Grant(NamedTuple):
    """What a token was made for: some actions on the datasets that a pattern fits."""

    actions: frozenset[Action]
    pattern: str

    def __str__(self) -> str:
        """Write it as it is given: `read,push:@geo/*`."""
        return f"{','.join(action for action in Action if action in self.actions)}:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Principal:
    """One who asks, after login."""

    kind: Kind
    name: str = ""  # empty: anonymous
    groups: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()  # of a token: the most that it may do
    owner: "Principal | None" = None  # of a token that a user made: it may never do more than they

    def __str__(self) -> str:
        """Write it as policies and logs do: `user:alice`, `token:ci`, `anonymous`."""
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)


ANONYMOUS: Final = Principal(Kind.ANONYMOUS)


def is_name(text: str) -> bool:
    """Tell whether files may name a user or a group so: what shows as it is, with no space around it."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()


def user(name: str, groups: frozenset[str] = frozenset()) -> Principal:
    """Return a user."""
    return Principal(Kind.USER, name, groups)
