"""What a principal may do: rules of a policy, read from TOML and asked many times a second.

    [[rule]]
    allow = ["read"]                    # or deny = [...]: read, push, tag, delete, admin
    to = ["anonymous"]                  # user:NAME, group:NAME, token:NAME, authenticated, anonymous
    on = ["maps", "@geo/*"]

Deny beats allow; what nothing allows is denied. What is allowed to `anonymous` is allowed to everybody; what is denied
to it, to those alone who did not log in. A token may do at most what it was made for: of that, what its owner may do
(or everything, if it has none: who has the store's own credentials made it), and what rules name it for.
Administration that belongs to no dataset (policy, tokens of others) is `admin` on `*`.

A policy is immutable; any thread. Answers are remembered, up to a bound.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from auth.patterns import EVERYTHING, check_pattern, fits
from auth.principal import ANONYMOUS, Action, Kind, Principal

LARGEST: Final = 1 << 20  # bytes of a policy's text
MOST_RULES: Final = 10_000
AUTHENTICATED: Final = "authenticated"
_REMEMBERED: Final = 20_000  # answers
_NAMED: Final = re.compile(r"(user|group|token):[^\x00-\x1f\x7f]{1,256}")
_OTHERS: Final = f"{AUTHENTICATED} or {ANONYMOUS}"
_KEYS: Final = frozenset(("allow", "deny", "to", "on"))


class PolicyError(ValueError):
    """A policy cannot be used. The message is finished and names the line."""


class Rule(NamedTuple):
    """One rule."""

    number: int  # from 1, in the order of the text
    line: int  # from 1, where it begins
    allows: bool  # else it denies
    actions: frozenset[Action]
    to: tuple[str, ...]
    on: tuple[str, ...]

    def __str__(self) -> str:
        """Write it in one line, for people."""
        effect = "allow" if self.allows else "deny"
        actions = ", ".join(action for action in Action if action in self.actions)
        return (
            f"rule {self.number} (line {self.line}): {effect} {actions} to {', '.join(self.to)} on {', '.join(self.on)}"
        )


class Decision(NamedTuple):
    """An answer, and what decided it."""

    allowed: bool
    why: str
    rule: Rule | None = None


class Policy:
    """Rules, and the answers that they give."""

    def __init__(self, rules: tuple[Rule, ...], *, digest: str = "", open_to_all: bool = False) -> None:
        """Take rules as `parse_policy` makes them; `open_to_all`: everybody may do everything."""
        self.rules, self.digest, self.open_to_all = rules, digest, open_to_all
        self._answers: dict[tuple[Principal, Action, str], bool] = {}

    def allows(self, principal: Principal, action: Action, dataset: str) -> bool:
        """Tell whether a principal may do something to a dataset, whether or not there is one of that name."""
        if self.open_to_all:
            return True
        key = principal, action, dataset
        answer = self._answers.get(key)
        if answer is None:
            answer = self.decide(principal, action, dataset).allowed
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def decide(self, principal: Principal, action: Action, dataset: str) -> Decision:
        """Return the answer of `allows` with its reason."""
        if self.open_to_all:
            return Decision(allowed=True, why="no login is configured: everybody may do everything")
        for rule in self._fitting(principal, action, dataset):
            if not rule.allows:
                return Decision(allowed=False, why=f"denied by {rule}", rule=rule)
        if principal.kind is Kind.TOKEN:
            return self._decide_token(principal, action, dataset)
        for rule in self._fitting(principal, action, dataset):
            return Decision(allowed=True, why=f"allowed by {rule}", rule=rule)
        return Decision(allowed=False, why="no rule allows it")

    def may_read_some(self, principal: Principal) -> bool:
        """Tell whether any rule lets a principal read anything, so that a listing is worth asking for."""
        if self.open_to_all:
            return True
        if principal.kind is Kind.TOKEN:
            return any(Action.READ in grant.actions for grant in principal.grants)
        names = _names(principal)
        return any(rule.allows and Action.READ in rule.actions and names & {*rule.to} for rule in self.rules)

    def _decide_token(self, token: Principal, action: Action, dataset: str) -> Decision:
        granted = next((g for g in token.grants if action in g.actions and fits(g.pattern, dataset)), None)
        if granted is None:
            return Decision(allowed=False, why=f"{token} was not made for it")
        if token.owner is None:
            return Decision(allowed=True, why=f"{token} was made for {granted}, with the store's own credentials")
        for rule in self._fitting(token, action, dataset):
            if str(token) in rule.to:
                return Decision(allowed=True, why=f"{token} was made for {granted}, and allowed by {rule}", rule=rule)
        owner = self.decide(token.owner, action, dataset)
        return owner._replace(why=f"{token} was made for {granted} by {token.owner}, for whom it is {owner.why}")

    def _fitting(self, principal: Principal, action: Action, dataset: str) -> Iterator[Rule]:
        names = _names(principal)
        for rule in self.rules:
            if action not in rule.actions or not any(fits(pattern, dataset) for pattern in rule.on):
                continue
            to = names if rule.allows or principal == ANONYMOUS else names - {str(ANONYMOUS)}
            if not to.isdisjoint(rule.to):
                yield rule


OPEN: Final = Policy((), open_to_all=True)
CLOSED: Final = Policy(())


def parse_policy(text: str) -> Policy:
    """Read a policy.

    Raises:
        PolicyError: it is no TOML, or says what no rule can say.
    """
    if len(text.encode("utf-8", "surrogateescape")) > LARGEST:
        raise PolicyError(f"line 1: larger than {LARGEST} bytes: not a policy")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # nested without end
        raise PolicyError(f"not TOML: {error}") from error
    for key in document:
        if key != "rule":
            raise PolicyError(
                f"line {_line_of(text, key)}: there is no {key!r} in a policy, which is a list of [[rule]]"
            )
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyError("line 1: rules are written [[rule]]")
    if len(tables) > MOST_RULES:
        raise PolicyError(f"line 1: more than {MOST_RULES} rules")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.split("#")[0].strip() == "[[rule]]"]
    lines += [1] * (len(tables) - len(lines))  # written in another way, such as inline
    rules = tuple(_rule(number, lines[number - 1], table) for number, table in enumerate(tables, 1))
    return Policy(rules, digest=hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest())


def _rule(number: int, line: int, table: dict[str, Any]) -> Rule:
    where = f"line {line}: rule {number}"
    unknown = sorted(table.keys() - _KEYS)
    if unknown:
        raise PolicyError(f"{where}: there is no {unknown[0]!r}; a rule has allow or deny, to, and on")
    if ("allow" in table) == ("deny" in table):
        raise PolicyError(f"{where}: it must have either allow or deny")
    allows = "allow" in table
    actions = _words(where, "allow" if allows else "deny", table)
    known = {str(action) for action in Action}
    for action in actions:
        if action not in known:
            raise PolicyError(f"{where}: {action!r} is no action; there are {', '.join(Action)}")
    to, on = _words(where, "to", table), _words(where, "on", table)
    for name in to:
        if name not in (AUTHENTICATED, str(ANONYMOUS)) and not _NAMED.fullmatch(name):
            raise PolicyError(f"{where}: {name!r} is no principal: write user:NAME, group:NAME, token:NAME, {_OTHERS}")
    for pattern in on:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise PolicyError(f"{where}: {error}") from error
    return Rule(number, line, allows, frozenset(map(Action, actions)), to, on)


def _words(where: str, key: str, table: dict[str, Any]) -> tuple[str, ...]:
    words = table.get(key)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise PolicyError(f'{where}: {key} must be a list of words, such as {key} = ["{_EXAMPLES[key]}"]')
    return tuple(words)


_EXAMPLES: Final = {"allow": "read", "deny": "read", "to": "group:staff", "on": EVERYTHING}


def _line_of(text: str, key: str) -> int:
    return next((n for n, line in enumerate(text.splitlines(), 1) if line.strip().strip("[ \"'").startswith(key)), 1)


def _names(principal: Principal) -> frozenset[str]:
    """Return the words by which rules mean a principal."""
    if principal.kind is Kind.ANONYMOUS:
        return frozenset((str(ANONYMOUS),))
    groups = (f"group:{group}" for group in principal.groups)
    return frozenset((str(principal), *groups, AUTHENTICATED, str(ANONYMOUS)))
