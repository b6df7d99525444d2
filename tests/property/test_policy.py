"""Policies answer as a model does that was written from the rules' description; patterns as the shell's do."""

import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from auth.patterns import can_fit, check_pattern, fits
from auth.policy import Policy, Rule, parse_policy
from auth.principal import ANONYMOUS, Action, Grant, Kind, Principal, user
from store.catalogue.refs import is_dataset

DATASETS = st.sampled_from(["maps", "mars", "@geo/maps", "@geo/x", "x"])
PATTERNS = st.sampled_from(["*", "maps", "ma*", "@geo/*", "@*", "?", "*x", "m?ps"])
ACTIONS = st.frozensets(st.sampled_from(list(Action)), min_size=1)
GROUPS = st.frozensets(st.sampled_from(["staff", "ada"]))
USERS = st.builds(user, st.sampled_from(["ada", "bob"]), GROUPS)
GRANTS = st.lists(st.builds(Grant, ACTIONS, PATTERNS), max_size=3).map(tuple)
TOKENS = st.builds(
    Principal, st.just(Kind.TOKEN), st.sampled_from(["ci", "ada"]), grants=GRANTS, owner=st.none() | USERS
)
PRINCIPALS = st.just(ANONYMOUS) | USERS | TOKENS
NAMES = st.sampled_from(
    ["anonymous", "authenticated", "user:ada", "user:bob", "group:staff", "group:ada", "token:ci", "token:ada"]
)
RULES = st.tuples(
    st.booleans(), ACTIONS, st.lists(NAMES, min_size=1, max_size=3), st.lists(PATTERNS, min_size=1, max_size=3)
)
POLICIES = st.lists(RULES, max_size=6)
LETTERS = st.text("ab@/.*?", max_size=12)


def built(rules: list[tuple[bool, frozenset[Action], list[str], list[str]]]) -> Policy:
    return Policy(
        tuple(Rule(n, n, allows, actions, tuple(to), tuple(on)) for n, (allows, actions, to, on) in enumerate(rules, 1))
    )


def spelled(policy: Policy) -> str:
    return "".join(
        f"[[rule]]\n{'allow' if rule.allows else 'deny'} = {sorted(map(str, rule.actions))}\n"
        f"to = {[*rule.to]}\non = {[*rule.on]}\n"
        for rule in policy.rules
    )


def model(policy: Policy, who: Principal, action: Action, dataset: str) -> bool:
    """Say it again, in the words of the description."""
    means = [
        rule for rule in policy.rules
        if action in rule.actions and any(fnmatch.fnmatchcase(dataset, pattern) for pattern in rule.on)
    ]  # fmt: skip
    own = {str(who)} | {f"group:{group}" for group in who.groups}
    if who != ANONYMOUS:
        own |= {"authenticated"}
    if any(not rule.allows and own & {*rule.to} for rule in means):
        return False
    if who.kind is Kind.TOKEN:
        made = any(action in grant.actions and fnmatch.fnmatchcase(dataset, grant.pattern) for grant in who.grants)
        return made and (who.owner is None or model(policy, who.owner, action, dataset))
    return any(rule.allows and (own | {"anonymous"}) & {*rule.to} for rule in means)


@given(POLICIES, PRINCIPALS, st.sampled_from(list(Action)), DATASETS)
def test_a_policy_answers_as_its_description_says(
    rules: list[tuple[bool, frozenset[Action], list[str], list[str]]], who: Principal, action: Action, dataset: str
) -> None:
    policy = built(rules)
    decided = policy.decide(who, action, dataset)
    assert decided.allowed == policy.allows(who, action, dataset) == policy.allows(who, action, dataset)
    assert decided.allowed == model(policy, who, action, dataset)
    assert decided.rule is None or decided.rule.allows == decided.allowed
    if action is Action.READ and decided.allowed:
        assert policy.may_read_some(who)
    if who.owner is not None and decided.allowed:
        assert policy.allows(who.owner, action, dataset)


@given(POLICIES)
def test_what_is_written_is_what_is_read(rules: list[tuple[bool, frozenset[Action], list[str], list[str]]]) -> None:
    policy = built(rules)
    assert [rule._replace(line=0) for rule in parse_policy(spelled(policy)).rules] == [
        rule._replace(line=0) for rule in policy.rules
    ]


@given(POLICIES, RULES, PRINCIPALS, st.sampled_from(list(Action)), DATASETS)
def test_one_more_denial_never_allows_and_one_more_allowance_never_denies(
    rules: list[tuple[bool, frozenset[Action], list[str], list[str]]],
    more: tuple[bool, frozenset[Action], list[str], list[str]],
    who: Principal, action: Action, dataset: str,
) -> None:  # fmt: skip
    before, after = (built(some).allows(who, action, dataset) for some in (rules, [*rules, more]))
    assert after >= before if more[0] else after <= before


@given(LETTERS, st.text("ab@/.", max_size=16))
def test_patterns_fit_as_the_shell_s_do(pattern: str, name: str) -> None:
    assert fits(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@given(st.from_regex(r"(@[a-z0-9][a-z0-9._-]{0,6}/)?[a-z0-9][a-z0-9._-]{0,6}", fullmatch=True), st.data())
def test_a_name_with_holes_is_a_pattern_that_fits_it(name: str, data: st.DataObject) -> None:
    pattern = "".join(data.draw(st.sampled_from([letter, letter, "?", "*"])) for letter in name)
    check_pattern(pattern)
    assert fits(pattern, name)
    if is_dataset(name):
        assert can_fit(pattern)
