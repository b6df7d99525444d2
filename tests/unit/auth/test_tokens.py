"""Tokens: their text, what is kept of them, what they are good for."""

import re
from dataclasses import replace

import pytest

from auth.errors import BadCredentials
from auth.principal import Action, Grant, Kind, Principal, user
from auth.tokens import (
    HTTP,
    MOST_RULES,
    NFS,
    TokenRecord,
    TokenText,
    TokenUnusable,
    check_record,
    check_token,
    digest_of,
    document_of,
    new_text,
    parse_duration,
    parse_name,
    parse_rule,
    parse_rules,
    parse_text,
    record_of,
)

TEXT = TokenText("abcdefghij", "klmnopqrstuvwxyz234567abcdefghijklmnopqr")  # drawn ones would differ between processes
OTHER = TokenText("jihgfedcba", "rqponmlkjihgfedcba765432zyxwvutsrqponmlk")
RECORD = TokenRecord(
    TEXT.id, "ci", HTTP, digest_of(TEXT), parse_rules(["read,push:@geo/*"], kind=HTTP),
    user("ada", frozenset({"staff"})), created_ns=1_000, expires_ns=2_000,
)  # fmt: skip


def test_a_token_is_as_it_is_in_urls_headers_and_shells() -> None:
    text = str(TEXT)
    assert re.fullmatch(r"aefs_[a-z2-7]{10}_[a-z2-7]{40}", text)
    assert parse_text(text) == TEXT
    assert len({new_text().secret for _ in range(100)}) == 100


def test_a_secret_has_more_than_160_bits() -> None:
    assert 5 * len(TEXT.secret) >= 160
    assert {letter for _ in range(200) for letter in new_text().secret} == set("abcdefghijklmnopqrstuvwxyz234567")


def test_a_token_is_not_shown_by_its_repr() -> None:
    assert TEXT.secret not in repr(TEXT)
    assert TEXT.secret not in repr(RECORD)


@pytest.mark.parametrize(
    "text",
    ["", "aefs_", f"aefs_{TEXT.id}", f"{TEXT} ", f" {TEXT}", f"{TEXT}\n", f"{TEXT}a", str(TEXT)[:-1], str(TEXT).upper(),
     f"aefs_{TEXT.id}_{'1' * 40}", f"aefs_{TEXT.id}/{TEXT.secret}", "aefs_" + "a" * 10**6,
     f"aefs_{TEXT.id}_{'ä' * 40}"],
)  # fmt: skip
def test_what_is_no_token_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(BadCredentials) as refused:
        parse_text(text)
    assert TEXT.secret not in str(refused.value)
    assert len(str(refused.value)) < 100


def test_a_good_token_is_its_principal() -> None:
    principal = check_token(RECORD, TEXT, kind=HTTP, now_ns=1_999)
    grant = Grant(frozenset({Action.READ, Action.PUSH}), "@geo/*")
    assert principal == Principal(Kind.TOKEN, "ci", grants=(grant,), owner=user("ada", frozenset({"staff"})))
    assert str(principal) == "token:ci"


@pytest.mark.parametrize(
    ("record", "kind", "now_ns", "why"),
    [
        (RECORD, HTTP, 2_000, "expired"),
        (replace(RECORD, revoked_ns=1_500), HTTP, 1_600, "revoked"),
        (replace(RECORD, revoked_ns=1_500, expires_ns=0), HTTP, 1_600, "revoked"),
        (RECORD, NFS, 1_500, "for http alone"),
        (replace(RECORD, kind=NFS), HTTP, 1_500, "for nfs alone"),
    ],
)
def test_a_token_that_is_good_for_nothing_says_why(record: TokenRecord, kind: str, now_ns: int, why: str) -> None:
    with pytest.raises(BadCredentials, match=why):
        check_token(record, TEXT, kind=kind, now_ns=now_ns)
    with pytest.raises(BadCredentials, match=why):
        check_record(record, kind=kind, now_ns=now_ns)


def test_another_secret_is_refused_whatever_else_fits() -> None:
    for shown in (OTHER, OTHER._replace(id=TEXT.id), TEXT._replace(id=OTHER.id)):
        with pytest.raises(BadCredentials) as refused:
            check_token(RECORD, shown, kind=HTTP, now_ns=1_500)
        assert shown.secret not in str(refused.value)


def test_a_digest_serves_for_one_token_alone() -> None:
    assert digest_of(TEXT) != digest_of(TEXT._replace(id=OTHER.id))
    moved = replace(RECORD, id=OTHER.id)
    with pytest.raises(BadCredentials):
        check_token(moved, TEXT._replace(id=OTHER.id), kind=HTTP, now_ns=1_500)


def test_a_record_is_read_as_it_was_written() -> None:
    for record in (RECORD, replace(RECORD, owner=None, kind=NFS, grants=parse_rules(["read:*"], kind=NFS))):
        assert record_of(document_of(record) | {"later": 1}) == record


@pytest.mark.parametrize(
    "damage",
    [{"id": "short"}, {"id": None}, {"name": ""}, {"name": "a b"}, {"name": 7}, {"kind": "ftp"}, {"digest": "0"},
     {"digest": "A" * 64}, {"rules": []}, {"rules": "read:*"}, {"rules": [1]}, {"rules": ["read"]},
     {"rules": ["eat:*"]},
     {"rules": ["read:a"] * (MOST_RULES + 1)}, {"owner": "ada"}, {"owner": {}}, {"owner": {"user": "", "groups": []}},
     {"owner": {"user": "ada", "groups": [1]}}, {"owner": {"user": "ada", "groups": ["g"] * 1001}},
     {"created": -1}, {"expires": True}, {"revoked": "no"}, {"revoked": 2**63}, {"created": 1.0},
     {"kind": NFS}],
)  # fmt: skip
def test_a_record_that_is_damaged_grants_nothing(damage: dict[str, object]) -> None:
    with pytest.raises(TokenUnusable):
        record_of(document_of(RECORD) | damage)


def test_every_field_of_a_record_is_needed() -> None:
    whole = document_of(RECORD)
    for name in whole.keys() - {"owner"}:
        with pytest.raises(TokenUnusable):
            record_of({field: value for field, value in whole.items() if field != name})


@pytest.mark.parametrize(
    ("text", "written"),
    [("read:@geo/*", "read:@geo/*"), ("read,push:maps", "read,push:maps"), ("push, read:maps", "read,push:maps"),
     ("read,read:*", "read:*"), ("admin,delete,tag,push,read:*", "read,push,tag,delete,admin:*")],
)  # fmt: skip
def test_rules_are_read(text: str, written: str) -> None:
    assert str(parse_rule(text)) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [("read", "ACTIONS:PATTERN"), ("", "ACTIONS:PATTERN"), (":maps", "is no action"),
     ("reed:maps", "'reed' is no action"),
     ("read,:maps", "'' is no action"), ("read:", "not a pattern"), ("read:Maps", "not a pattern"),
     ("read:a:b", "not a pattern"), ("read:../x", "not a pattern"), ("read:" + "a" * 300, "not a pattern"),
     ("*:maps", r"'\*' is no action")],
)  # fmt: skip
def test_what_is_no_rule_is_told_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(TokenUnusable, match=said):
        parse_rule(text)


def test_a_token_for_nfs_reads_alone() -> None:
    assert parse_rules(["read:maps"], kind=NFS)
    with pytest.raises(TokenUnusable, match="reading alone; write read:maps"):
        parse_rules(["read,push:maps"], kind=NFS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("3650d", 315_360_000)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "0d", "-1d", "1.5d", "1y", "1 d", "30D", "3651d", "0s", "9999999h", "999999999s", "٣d", "1d "],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(TokenUnusable, match="12h, 30d or 2w"):
        parse_duration(text)


@pytest.mark.parametrize("name", ["ci", "a", "ada@example.org", "Build-7_x+y.z", "a" * 64])
def test_names_are_taken(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "a" * 65, ".a", "a/b", "a b", "ä", "a\n", "a%2Fb", "*"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(TokenUnusable, match="no name of a token"):
        parse_name(name)


def test_a_token_is_no_name_of_one_and_is_not_repeated() -> None:
    text = new_text()
    with pytest.raises(TokenUnusable, match="a token itself") as caught:
        parse_name(str(text))
    assert text.secret not in str(caught.value)
    assert parse_name("aefs_ci") == "aefs_ci"
