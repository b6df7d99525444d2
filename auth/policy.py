"""What a principal may do: rules of a policy, read from TOML and asked many times a second.

    [[rule]]
    allow = ["read"]                    # or deny = [...]: read, push, tag, delete, admin
    to = ["anonymous"]                  # user:NAME, group:NAME, token:NAME, authenticated, anonymous
    on = ["maps", "@geo/*"]

Deny beats allow; what nothing allows is denied. What is allowed to `anonymous` is allowed to everybody; what is denied
to it, to those alone who did not log in. A token may do what it was made for, as far as its owner may (one without an
owner, which somebody made with the store's own credentials, all of it). Rules that name a token can only take from
that: users choose the names of theirs, and must gain nothing by calling one as a rule does.
Administration that belongs to no dataset (policy, tokens of others) is `admin` on `*`.

A policy is immutable; any thread. Answers are remembered, up to a bound.
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from auth.patterns import EVERYTHING, can_fit, check_pattern, fits, is_wild, may_begin
from auth.principal import ANONYMOUS, Action, Grant, Kind, Principal, is_name

LARGEST: Final = 1 << 20  # bytes of a policy's text
MOST_RULES: Final = 10_000
AUTHENTICATED: Final = "authenticated"
_REMEMBERED: Final = 20_000  # answers
_CHOSEN: Final = 500  # choices of rules, each for a principal and an action
_LONGEST_DATASET: Final = 200  # characters of a name that answers are remembered for; longer ones are no dataset's
_NAMED: Final = re.compile(r"(user|group|token):(.+)", re.DOTALL)
_HEADER: Final = re.compile(r"""\s*\[\[\s*(rule|"rule"|'rule')\s*\]\]\s*(#.*)?""", re.DOTALL)
_KEY: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.]""", re.ASCII)
_BYTE_ORDER_MARK: Final = "\ufeff"  # some editors begin a file with it
_SHOWN: Final = 80  # of a bad text, characters repeated in the message
_OTHERS: Final = f"{AUTHENTICATED} or {ANONYMOUS}"
_KEYS: Final = ("allow", "deny", "to", "on")
_ACTIONS: Final = tuple(map(str, Action))


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


class _Verdict(NamedTuple):
    """An answer with what decided it, and no words yet: most are asked for the answer alone."""

    allowed: bool
    rule: Rule | None = None
    grant: Grant | None = None  # of a token: what it was made for that fits
    owner: "_Verdict | None" = None  # of a token's owner


class _Rules:
    """Rules that are about one principal and one action, allowing or denying: asked which of them fits a dataset."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._exact: dict[str, Rule] = {}  # names without wildcards, of which there may be thousands
        self._wild: list[tuple[str, Rule]] = []  # in the order of rules
        for rule in rules:
            for pattern in rule.on:
                if is_wild(pattern):
                    self._wild.append((pattern, rule))
                else:
                    self._exact.setdefault(pattern, rule)

    def first(self, dataset: str) -> Rule | None:
        """Return the first rule that fits."""
        exact = self._exact.get(dataset)
        for pattern, rule in self._wild:
            if exact is not None and exact.number < rule.number:
                break
            if fits(pattern, dataset):
                return rule
        return exact

    def may_fit_below(self, beginning: str) -> bool:
        """Tell whether one of them may fit a dataset whose name begins so."""
        return any(name.startswith(beginning) for name in self._exact) or any(
            may_begin(pattern, beginning) for pattern, _ in self._wild
        )


class Policy:
    """Rules, and the answers that they give."""

    def __init__(self, rules: tuple[Rule, ...], *, digest: str = "", open_to_all: bool = False) -> None:
        """Take rules as `parse_policy` makes them; `open_to_all`: everybody may do everything."""
        self.rules, self.digest, self.open_to_all = rules, digest, open_to_all
        self._answers: dict[tuple[Principal, Action, str], bool] = {}
        self._chosen: dict[tuple[Principal, Action, bool], _Rules] = {}

    def allows(self, principal: Principal, action: Action, dataset: str) -> bool:
        """Tell whether a principal may do something to a dataset, whether or not there is one of that name."""
        if self.open_to_all:
            return True
        key = principal, action, dataset
        answer = self._answers.get(key)
        if answer is None:
            answer = self._judge(principal, action, dataset).allowed
            if len(dataset) > _LONGEST_DATASET:
                return answer
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def decide(self, principal: Principal, action: Action, dataset: str) -> Decision:
        """Return the answer of `allows` with its reason."""
        if self.open_to_all:
            return Decision(allowed=True, why="no login is configured: everybody may do everything")
        verdict = self._judge(principal, action, dataset)
        return Decision(verdict.allowed, _why(principal, verdict), verdict.rule)

    def may_read_some(self, principal: Principal, beginning: str = "") -> bool:
        """Tell whether any rule lets a principal read anything, so that a listing is worth asking for.

        Args:
            principal: who asks.
            beginning: of the names of datasets that count: `@geo/` for those of a scope.
        """
        if self.open_to_all:
            return True
        if principal.kind is Kind.TOKEN:
            granted = any(Action.READ in g.actions and may_begin(g.pattern, beginning) for g in principal.grants)
            return granted and (principal.owner is None or self.may_read_some(principal.owner, beginning))
        return self._rules(principal, Action.READ, allows=True).may_fit_below(beginning)

    def _judge(self, principal: Principal, action: Action, dataset: str) -> _Verdict:
        rule = self._rules(principal, action, allows=False).first(dataset)
        if rule is not None:
            return _Verdict(False, rule)
        if principal.kind is not Kind.TOKEN:
            rule = self._rules(principal, action, allows=True).first(dataset)
            return _Verdict(rule is not None, rule)
        grant = next((g for g in principal.grants if action in g.actions and fits(g.pattern, dataset)), None)
        if grant is None or principal.owner is None:
            return _Verdict(grant is not None, None, grant)
        owner = self._judge(principal.owner, action, dataset)
        return _Verdict(owner.allowed, owner.rule, grant, owner)

    def _rules(self, principal: Principal, action: Action, *, allows: bool) -> _Rules:
        key = principal, action, allows
        chosen = self._chosen.get(key)
        if chosen is None:
            names = _names(principal)
            if not allows and principal.kind is not Kind.ANONYMOUS:
                names -= {str(ANONYMOUS)}
            chosen = _Rules(
                rule
                for rule in self.rules
                if rule.allows is allows and action in rule.actions and not names.isdisjoint(rule.to)
            )
            if len(self._chosen) >= _CHOSEN:
                self._chosen.clear()
            self._chosen[key] = chosen
        return chosen


def _why(principal: Principal, verdict: _Verdict) -> str:
    """Say in words what decided."""
    made = f"{principal} was made for {verdict.grant}"
    if verdict.owner is not None and principal.owner is not None:
        return f"{made} by {principal.owner}, for whom it is {_why(principal.owner, verdict.owner)}"
    if verdict.grant is not None:
        return f"{made}, with the store's own credentials"
    if verdict.rule is not None:
        return f"{'allowed' if verdict.allowed else 'denied'} by {verdict.rule}"
    return f"{principal} was not made for it" if principal.kind is Kind.TOKEN else "no rule allows it"


def warnings(policy: Policy) -> list[str]:
    """Say what rules hold that can have no effect, a line each: mostly a mistake."""
    said = []
    for rule in policy.rules:
        where = f"line {rule.line}: rule {rule.number}"
        said += [f"{where}: {pattern!r} can fit no dataset's name" for pattern in rule.on if not can_fit(pattern)]
        if rule.allows:
            said += [
                f"{where}: allows {name} nothing: a token may do what it was made for, as far as its owner may"
                for name in rule.to
                if name.startswith(f"{Kind.TOKEN}:")
            ]
    return said


OPEN: Final = Policy((), open_to_all=True)
CLOSED: Final = Policy(())


def policy_text(data: bytes) -> str:
    """Return what a file or an object with a policy says.

    Raises:
        PolicyError: it is too large, or no UTF-8.
    """
    if len(data) > LARGEST:
        raise PolicyError(f"line 1: larger than {LARGEST} bytes: not a policy")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"line {line}: not UTF-8") from error


def digest_of(text: str) -> str:
    """Return what names a policy's text: its SHA-256, 64 hex digits.

    Raises:
        PolicyError: it is too large, or has half a character (a lone surrogate), as JSON may.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise PolicyError(f"line {line}: not UTF-8") from error
    if len(data) > LARGEST:
        raise PolicyError(f"line 1: larger than {LARGEST} bytes: not a policy")
    return hashlib.sha256(data).hexdigest()


def parse_policy(text: str) -> Policy:
    """Read a policy.

    Raises:
        PolicyError: it is no TOML, or says what no rule can say.
    """
    digest = digest_of(text)
    try:
        document = tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:  # nested without end
        raise PolicyError(_no_toml(text, str(error))) from error
    for key in document:
        if key != "rule":
            raise PolicyError(
                f"line {_line_of(text, key)}: there is no {key[:_SHOWN]!r} in a policy, which is a list of [[rule]]"
            )
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyError("line 1: rules are written [[rule]]")
    if len(tables) > MOST_RULES:
        raise PolicyError(f"line 1: more than {MOST_RULES} rules")
    lines = _lines(text.removeprefix(_BYTE_ORDER_MARK), len(tables))
    rules = tuple(_rule(number, lines[number - 1], table) for number, table in enumerate(tables, 1))
    return Policy(rules, digest=digest)


def _lines(text: str, count: int) -> list[dict[str, int]]:
    """Return for each of so many rules in which line what of it begins: itself by "", its keys by their names."""
    found: list[dict[str, int]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if _HEADER.fullmatch(line):
            found.append({"": number})
        elif found and (key := _KEY.match(line)):
            found[-1].setdefault(key[1], number)
    return found if len(found) == count else [{"": 1}] * count  # written in another way, such as inline


def _no_toml(text: str, why: str) -> str:
    """Say where it is no TOML: the parser's own word for that stands at the end of what it says, if it has one."""
    found = re.search(r" \(at line (\d+), column \d+\)$", why)
    line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1 if why.endswith("(at end of document)") else 1
    return f"line {line}: not TOML: {why[:200]}"


def _rule(number: int, lines: dict[str, int], table: dict[str, Any]) -> Rule:
    def where(key: str = "") -> str:
        return f"line {lines.get(key, lines[''])}: rule {number}"

    unknown = sorted(table.keys() - set(_KEYS))
    if unknown:
        key = unknown[0]
        said = f"there is no {key[:_SHOWN]!r}; a rule has allow or deny, to, and on{_nearest(key, _KEYS)}"
        raise PolicyError(f"{where(key)}: {said}")
    if ("allow" in table) == ("deny" in table):
        raise PolicyError(f"{where()}: it must have either allow or deny")
    effect = "allow" if "allow" in table else "deny"
    actions = _words(where(effect), effect, table)
    for action in actions:
        if action not in _ACTIONS:
            said = f"{action[:_SHOWN]!r} is no action; there are {', '.join(_ACTIONS)}{_nearest(action, _ACTIONS)}"
            raise PolicyError(f"{where(effect)}: {said}")
    to, on = _words(where("to"), "to", table), _words(where("on"), "on", table)
    for name in to:
        if not _is_principal(name):
            raise PolicyError(
                f"{where('to')}: {name[:_SHOWN]!r} is no principal: write user:NAME, group:NAME, token:NAME, {_OTHERS}"
            )
    for pattern in on:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise PolicyError(f"{where('on')}: {error}") from error
    return Rule(number, lines[""], effect == "allow", frozenset(map(Action, actions)), to, on)


def _nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word is meant, if one is much like it."""
    near = difflib.get_close_matches(word[:_SHOWN].lower(), known, n=1)
    return f"; the nearest is {near[0]!r}" if near else ""


def _is_principal(text: str) -> bool:
    if text in (AUTHENTICATED, str(ANONYMOUS)):
        return True
    found = _NAMED.fullmatch(text)
    return found is not None and is_name(found[2])  # a rule for a misspelt name would do nothing


def _words(where: str, key: str, table: dict[str, Any]) -> tuple[str, ...]:
    words = table.get(key)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise PolicyError(f'{where}: {key} must be a list of words, such as {key} = ["{_EXAMPLES[key]}"]')
    return tuple(words)


_EXAMPLES: Final = {"allow": "read", "deny": "read", "to": "group:staff", "on": EVERYTHING}


def _line_of(text: str, key: str) -> int:
    return next((n for n, line in enumerate(text.split("\n"), 1) if line.strip().strip("[ \"'").startswith(key)), 1)


def _names(principal: Principal) -> frozenset[str]:
    """Return the words by which rules mean a principal."""
    if principal.kind is Kind.ANONYMOUS:
        return frozenset((str(ANONYMOUS),))
    groups = (f"group:{group}" for group in principal.groups)
    return frozenset((str(principal), *groups, AUTHENTICATED, str(ANONYMOUS)))
