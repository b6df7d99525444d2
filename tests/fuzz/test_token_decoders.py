"""Any text as a token, a rule or a time, and any document as what is kept of one: a value, or a documented error."""

import json

from hypothesis import given
from hypothesis import strategies as st

from auth.errors import BadCredentials
from auth.principal import user
from auth.tokens import (
    HTTP,
    KINDS,
    TokenText,
    TokenUnusable,
    digest_of,
    document_of,
    parse_duration,
    parse_name,
    parse_rule,
    parse_rules,
    parse_text,
    record_of,
)
from gateway.access.token_objects import decode_record
from gateway.access.tokens import Tokens
from store import jsondoc
from store.errors import ObjectCorrupt
from store.layout import token_owner_key
from store.objects.memory import MemoryStore

ID, SECRET = "abcdefghij", "k" * 40
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
WORDS = st.sampled_from(["read", "push", "tag", "delete", "admin", ",", ":", "*", "@geo/", "maps", " ", "ä", "\n", "/"])
RECORD = {
    "id": ID, "name": "ci", "kind": "http", "digest": digest_of(TokenText(ID, SECRET)), "rules": ["read:*"],
    "owner": {"user": "ada", "groups": ["staff"]}, "created": 1, "expires": 0, "revoked": 0,
}  # fmt: skip


@given(st.text(max_size=120) | st.from_regex(r"aefs_[a-z2-7]{8,12}[_/ ][a-z2-7A-Z01]{38,42}\n?", fullmatch=True))
def test_any_text_as_a_token(text: str) -> None:
    try:
        found = parse_text(text)
    except BadCredentials:
        tokens = Tokens(MemoryStore())
        assert tokens.known(text) is None
        return
    assert str(found) == text


@given(st.text(max_size=60) | st.lists(WORDS, max_size=12).map("".join))
def test_any_text_as_a_rule(text: str) -> None:
    try:
        grant = parse_rule(text)
    except TokenUnusable:
        return
    assert parse_rule(str(grant)) == grant
    assert str(parse_rule(str(grant))) == str(grant)


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{0,8}[smhdw ]{0,2}", fullmatch=True))
def test_any_text_as_a_time(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except TokenUnusable:
        return
    assert 1 <= seconds <= 3650 * 86_400


@given(st.text(max_size=80))
def test_any_text_as_a_name(text: str) -> None:
    try:
        assert parse_name(text) == text
    except TokenUnusable:
        assert not (text.isalnum() and text.isascii() and len(text) <= 64)


@given(st.sampled_from([*RECORD]), ANY_JSON)
def test_any_value_in_a_record(field: str, value: object) -> None:
    try:
        record = record_of({**RECORD, field: value})
    except TokenUnusable:
        return
    assert record_of(document_of(record)) == record
    assert record.kind in KINDS


@given(ANY_JSON | st.dictionaries(st.sampled_from(["format", "sum", *RECORD]), ANY_JSON))
def test_any_json_in_the_bucket(document: object) -> None:
    data = json.dumps(document).encode()
    try:
        record = decode_record(ID, data)
    except ObjectCorrupt:
        return
    assert record.id == ID


@given(ANY_JSON | st.dictionaries(st.sampled_from(["format", "seq", "operations", "user", "tokens"]), ANY_JSON))
def test_any_json_as_the_tokens_that_a_user_has(document: object) -> None:
    objects = MemoryStore()
    objects.put(token_owner_key("ada"), json.dumps(document).encode())
    try:
        text, _ = Tokens(objects).create("ci", parse_rules(["read:*"], kind=HTTP), owner=user("ada"))
    except ObjectCorrupt:
        return
    assert text.id in json.loads(objects.get(token_owner_key("ada")))["tokens"]


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=8))
def test_any_bytes_in_the_bucket(data: bytes, at: int, patch: bytes) -> None:
    whole = jsondoc.encode({**RECORD, "format": 1, "seq": 1, "operations": [[1, "ab"]]})
    assert decode_record(ID, whole).grants == parse_rules(["read:*"], kind=HTTP)
    for damaged in (data, whole[:at] + patch + whole[at + len(patch) :]):
        try:
            record = decode_record(ID, damaged)
        except ObjectCorrupt:
            continue
        assert record == decode_record(ID, whole)
