"""Policies: who may do what, which rule says so, and which texts are none."""

import pytest

from auth.policy import CLOSED, LARGEST, MOST_RULES, OPEN, Policy, PolicyError, parse_policy, policy_text, warnings
from auth.principal import ANONYMOUS, Action, Grant, Kind, Principal, user

READ, PUSH, ADMIN = Action.READ, Action.PUSH, Action.ADMIN
ADA, BOB, STAFF = user("ada"), user("bob"), user("carl", frozenset({"staff"}))
ALL = frozenset(Action)


def rule(effect: str, actions: str, to: str, on: str) -> str:
    lists = [", ".join(f'"{word}"' for word in words.split()) for words in (actions, to, on)]
    return f"[[rule]]\n{effect} = [{lists[0]}]\nto = [{lists[1]}]\non = [{lists[2]}]\n"


def policy(*rules: str) -> Policy:
    return parse_policy("".join(rules))


def token(owner: Principal | None = None, *, actions: frozenset[Action] = ALL, pattern: str = "*") -> Principal:
    return Principal(Kind.TOKEN, "ci", grants=(Grant(actions, pattern),), owner=owner)


EVERYONE = (ANONYMOUS, ADA, STAFF, token(), token(ADA))


def test_what_nothing_allows_is_denied() -> None:
    for one in (CLOSED, policy(rule("allow", "read", "user:ada", "maps"))):
        assert not one.allows(ADA, PUSH, "maps")
        assert not one.allows(ADA, READ, "other")
        assert not one.allows(BOB, READ, "maps")
        assert not one.allows(ANONYMOUS, READ, "maps")
        assert one.decide(BOB, READ, "maps").why == "no rule allows it"


def test_without_login_everybody_may_do_everything() -> None:
    assert all(OPEN.allows(who, action, "maps") for who in EVERYONE for action in Action)
    assert OPEN.may_read_some(ANONYMOUS)


@pytest.mark.parametrize("first", ["allow", "deny"])
def test_deny_beats_allow_in_whatever_order_and_however_wide(first: str) -> None:
    rules = [
        rule("allow", "read push", "user:ada authenticated anonymous", "maps *"),
        rule("deny", "read", "user:ada", "m*"),
    ]
    one = policy(*(rules if first == "allow" else rules[::-1]))
    assert not one.allows(ADA, READ, "maps")
    assert one.allows(ADA, PUSH, "maps")
    assert one.allows(ADA, READ, "other")
    assert one.allows(BOB, READ, "maps")


def test_what_anonymous_may_everybody_may() -> None:
    one = policy(rule("allow", "read", "anonymous", "maps"))
    assert all(one.allows(who, READ, "maps") for who in EVERYONE)


def test_what_is_denied_to_anonymous_is_denied_to_those_alone_who_did_not_log_in() -> None:
    one = policy(rule("allow", "read", "anonymous", "*"), rule("deny", "read", "anonymous", "maps"))
    assert [who for who in EVERYONE if not one.allows(who, READ, "maps")] == [ANONYMOUS]


def test_authenticated_is_whoever_logged_in() -> None:
    one = policy(rule("allow", "read", "authenticated", "*"))
    assert [who for who in EVERYONE if not one.allows(who, READ, "maps")] == [ANONYMOUS]
    denied = policy(rule("allow", "read", "anonymous", "*"), rule("deny", "read", "authenticated", "*"))
    assert [who for who in EVERYONE if denied.allows(who, READ, "maps")] == [ANONYMOUS]


def test_groups_are_not_users_nor_the_other_way_round() -> None:
    one = policy(rule("allow", "read", "group:staff", "*"))
    assert one.allows(STAFF, READ, "maps")
    assert not one.allows(user("staff"), READ, "maps")
    assert not one.allows(user("group:staff"), READ, "maps")
    assert not one.allows(user("eve", frozenset({"group:staff"})), READ, "maps")
    assert not one.allows(user("eve", frozenset({"staff "})), READ, "maps")
    names = policy(rule("allow", "read", "user:ada", "*"))
    assert not names.allows(user("eve", frozenset({"ada", "user:ada", "authenticated", "anonymous"})), READ, "maps")
    assert not names.allows(Principal(Kind.TOKEN, "ada", grants=token().grants, owner=BOB), READ, "maps")
    assert not names.allows(user("Ada"), READ, "maps")


def test_a_group_s_denial_beats_what_the_user_is_allowed() -> None:
    one = policy(rule("allow", "read", "user:carl", "*"), rule("deny", "read", "group:staff", "secret"))
    assert one.allows(STAFF, READ, "maps")
    assert not one.allows(STAFF, READ, "secret")


def test_a_token_may_do_what_it_was_made_for_as_far_as_its_owner_may() -> None:
    one = policy(rule("allow", "read", "user:ada", "*"), rule("allow", "push", "user:ada", "maps"))
    ci = token(ADA, pattern="m*")
    assert one.allows(ci, READ, "maps")
    assert one.allows(ci, PUSH, "maps")
    assert not one.allows(ci, READ, "other")  # not made for it
    assert not one.allows(ci, PUSH, "mine")  # its owner may not
    assert not one.allows(token(ADA, actions=frozenset({READ})), PUSH, "maps")
    assert not one.allows(token(BOB), READ, "maps")
    assert not one.allows(Principal(Kind.TOKEN, "empty", owner=ADA), READ, "maps")


def test_a_token_gains_nothing_by_a_name_that_rules_have() -> None:
    """Users choose the names of their tokens."""
    one = policy(rule("allow", "read push admin", "token:ci", "*"))
    assert not any(one.allows(token(BOB), action, "maps") for action in Action)


def test_what_is_denied_to_the_owner_their_groups_or_the_token_is_denied_to_the_token() -> None:
    everything = rule("allow", "read", "authenticated", "*")
    for to in ("user:carl", "group:staff", "token:ci", "authenticated"):
        one = policy(everything, rule("allow", "read", "token:ci", "*"), rule("deny", "read", to, "maps"))
        assert not one.allows(token(STAFF), READ, "maps"), to
        assert one.allows(token(STAFF), READ, "other")
    assert policy(everything, rule("deny", "read", "token:other", "*")).allows(token(STAFF), READ, "maps")


def test_a_token_of_the_store_s_own_credentials_needs_no_rule_but_minds_denials() -> None:
    assert CLOSED.allows(token(actions=frozenset({PUSH}), pattern="m*"), PUSH, "maps")
    assert not CLOSED.allows(token(actions=frozenset({PUSH}), pattern="m*"), READ, "maps")
    assert not policy(rule("deny", "push", "token:ci", "maps")).allows(token(), PUSH, "maps")


def test_decisions_name_the_rule_with_its_line() -> None:
    text = "# people\n\n" + rule("allow", "read", "anonymous", "maps") + "\n  [[ rule ]]  # no more\n" + rule(
        "deny", "push read", "user:ada group:staff", "maps m*"
    ).partition("\n")[2]  # fmt: skip
    one = parse_policy(text)
    assert [found.line for found in one.rules] == [3, 8]
    decided = one.decide(ADA, READ, "maps")
    assert (decided.allowed, decided.rule) == (False, one.rules[1])
    assert decided.why == "denied by rule 2 (line 8): deny read, push to user:ada, group:staff on maps, m*"
    assert one.decide(BOB, READ, "maps").why == "allowed by rule 1 (line 3): allow read to anonymous on maps"
    assert "token:ci was made for read" in one.decide(token(ADA), READ, "maps").why
    assert "by user:ada, for whom it is denied by rule 2" in one.decide(token(ADA), READ, "maps").why
    assert one.decide(token(ADA), READ, "maps").rule == one.rules[1]


@pytest.mark.parametrize("patterns", [("maps", "m*"), ("m*", "maps"), ("maps", "maps"), ("m*", "ma*")])
def test_of_several_rules_that_fit_the_first_is_named(patterns: tuple[str, str]) -> None:
    for effect in ("allow", "deny"):
        one = policy(*(rule(effect, "read", "user:ada", pattern) for pattern in patterns))
        assert one.decide(ADA, READ, "maps").rule == one.rules[0]


def test_lines_are_counted_as_editors_do() -> None:
    text = "# \u2028 \u2029\r\n" + rule("allow", "read", "user:a", "x")
    assert parse_policy(text).rules[0].line == 2
    inline = (
        'rule = [{allow = ["read"], to = ["anonymous"], on = ["*"]}, {deny = ["push"], to = ["user:a"], on = ["*"]}]'
    )
    assert [found.line for found in parse_policy(inline).rules] == [1, 1]


def test_whether_anything_can_be_read_is_never_denied_wrongly() -> None:
    one = policy(rule("allow", "read", "user:ada", "maps"), rule("allow", "push", "anonymous", "*"))
    assert one.may_read_some(ADA)
    assert one.may_read_some(token(ADA))
    assert one.may_read_some(token())
    assert not one.may_read_some(ANONYMOUS)
    assert not one.may_read_some(BOB)
    assert not one.may_read_some(token(BOB))
    assert not one.may_read_some(token(ADA, actions=frozenset({PUSH})))
    scoped = policy(rule("allow", "read", "anonymous", "@pub/*"), rule("allow", "read", "anonymous", "@geo/maps"))
    assert scoped.may_read_some(ANONYMOUS, "@pub/")
    assert scoped.may_read_some(ANONYMOUS, "@geo/")
    assert not scoped.may_read_some(ANONYMOUS, "@secret/")


def test_answers_are_remembered_up_to_a_bound_and_long_names_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.policy._REMEMBERED", 10)
    one = policy(rule("allow", "read", "anonymous", "m*"))
    for number in range(25):
        assert one.allows(ADA, READ, f"m{number}")
        assert one.allows(ADA, READ, f"m{number}")
        assert not one.allows(ADA, READ, "x" * 100_000 + str(number))
    assert len(one._answers) <= 10
    assert max(len(name) for _, _, name in one._answers) < 10


def test_one_text_has_one_digest() -> None:
    text = rule("allow", "read", "anonymous", "*")
    assert parse_policy(text).digest == parse_policy(text).digest != parse_policy(text + "#").digest
    assert len(parse_policy(text).digest) == 64
    assert parse_policy("").rules == ()


GOOD = rule("allow", "read", "anonymous", "*")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "line 1: not TOML"),
        (GOOD + '[[rule]]\nallow = ["read"\n', "line 6: not TOML"),
        (GOOD + "\nx = 1 1\n", "line 6: not TOML"),
        (GOOD + "\ufeff", "not TOML"),
        ("[[rules]]\n", "line 1: there is no 'rules'"),
        (GOOD + "\nmode = 'open'\n[[rule]]\n", "line 6: rule 1: there is no 'mode'"),
        ("[rule]\nallow = ['read']\n", "line 1: rules are written"),
        ("rule = 1", "line 1: rules are written"),
        ("rule = [1]", "line 1: rules are written"),
        (GOOD + "[[rule]]\n", "line 5: rule 2: it must have either allow or deny"),
        (GOOD + "deny = ['read']\n", "line 1: rule 1: it must have either"),
        (GOOD + "unless = ['read']\n", "line 5: rule 1: there is no 'unless'; a rule has allow or deny, to, and on$"),
        (GOOD + GOOD.replace("allow", "alow"), "line 6: rule 2: there is no 'alow'; .*; the nearest is 'allow'$"),
        (GOOD.replace('"read"', '"reed"'), "line 2: rule 1: 'reed' is no action; .*; the nearest is 'read'$"),
        (GOOD.replace('"read"', '"Tag"'), "line 2: rule 1: 'Tag' is no action; .*; the nearest is 'tag'$"),
        (GOOD.replace('"read"', '"write"'), "is no action; there are read, push, tag, delete, admin$"),
        (GOOD.replace('["read"]', '"read"'), "allow must be a list of words"),
        (GOOD.replace('["read"]', "[]"), "allow must be a list of words"),
        (GOOD.replace('["read"]', "[1]"), "allow must be a list of words"),
        (GOOD.replace('to = ["anonymous"]\n', ""), "to must be a list of words"),
        (GOOD.replace('on = ["*"]\n', ""), "on must be a list of words"),
        (GOOD.replace('"*"', '"Maps"'), "line 4: rule 1: 'Maps' is not a pattern"),
        ("rule = [{allow = ['reed'], to = ['anonymous'], on = ['*']}]", "line 1: rule 1: 'reed' is no action"),
        *(
            (GOOD.replace('"anonymous"', f'"{name}"'), "is no principal: write user:NAME")
            for name in (
                "", "ada", "user:", "User:ada", "user: ada", "user:ada ", "group:", "everybody", "Anonymous",
                "anonymous ", "role:x", "user:a\\u200bda", "user:a\\nb", "user:" + "a" * 257,
            )
        ),
        ("#" * (LARGEST + 1), "larger than"),
        ("#" + "ä" * (LARGEST // 2), "larger than"),
        ("a." * 2000 + "a = 1", "there is no 'a'|not TOML"),
        ("a = " + "[" * 100_000, "not TOML"),
        ("a = " + "9" * 10_000, "not TOML"),
        ("rule = [" + "{}," * (MOST_RULES + 1) + "]", "more than"),
    ],
)  # fmt: skip
def test_what_no_rule_can_say_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why) as caught:
        parse_policy(text)
    assert str(caught.value).startswith("line ")
    assert len(str(caught.value)) < 500


def test_a_byte_order_mark_says_nothing_and_line_ends_may_be_those_of_windows() -> None:
    text = "\ufeff" + GOOD.replace("\n", "\r\n") + GOOD
    assert [one.line for one in parse_policy(text).rules] == [1, 5]
    assert policy_text(text.encode()) == text  # as it was set


def test_bytes_are_read_as_utf8_and_bounded() -> None:
    assert policy_text("# ä\n".encode()) == "# ä\n"
    with pytest.raises(PolicyError, match="line 3: not UTF-8"):
        policy_text(b"#\n#\n# \xff\n")
    with pytest.raises(PolicyError, match="larger than"):
        policy_text(bytes(LARGEST + 1))


def test_rules_without_effect_are_told() -> None:
    one = policy(
        rule("allow", "read", "anonymous token:ci", "maps public/*"),
        rule("deny", "read", "token:ci", "@geo"),
        rule("allow", "read", "user:ada", "@*"),
    )
    assert warnings(one) == [
        "line 1: rule 1: 'public/*' can fit no dataset's name",
        "line 1: rule 1: allows token:ci nothing: a token may do what it was made for, as far as its owner may",
        "line 5: rule 2: '@geo' can fit no dataset's name",
    ]


def test_administration_of_no_dataset_is_admin_on_everything() -> None:
    one = policy(rule("allow", "admin", "user:ada", "*"), rule("allow", "admin", "user:bob", "maps"))
    assert one.allows(ADA, ADMIN, "*")
    assert not one.allows(BOB, ADMIN, "*")
