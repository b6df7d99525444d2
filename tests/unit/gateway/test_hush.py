"""What a log shows of a text with a secret in it."""

import json
import logging

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.tokens import new_text
from gateway.cli.failures import report
from gateway.config import ConfigError
from gateway.hush import without_secrets
from gateway.logs import set_up

TOKEN = new_text()


@pytest.mark.parametrize(
    "around", ["{}", "user:{}", "/fs/maps/?token={}&x=1", "/@token/{}/maps", "wrong password, or no such user: '{}'"]
)
def test_of_a_token_its_id_alone_is_shown(around: str) -> None:
    assert without_secrets(around.format(TOKEN)) == around.format(f"aefs_{TOKEN.id}_...")


@pytest.mark.parametrize(
    "mistyped",
    [
        f"aefs_{TOKEN.id}_{TOKEN.secret[:3]}1{TOKEN.secret[4:]}",
        f"aefs_{TOKEN.id[:4]}0{TOKEN.id[5:]}_{TOKEN.secret}",
        f"aefs_{TOKEN.id[1:]}_{TOKEN.secret}",
        f"/fs/?token=aefs_{TOKEN.id}8_{TOKEN.secret}",
        f"aefs_{TOKEN.id}_{TOKEN}",
    ],
    ids=["secret", "id", "short", "long", "twice"],
)
def test_a_token_that_was_mistyped_is_not_shown_either(mistyped: str) -> None:
    assert TOKEN.secret[4:] not in without_secrets(mistyped)


def test_what_a_provider_signed_is_not_shown() -> None:
    signed = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl-_x"
    assert without_secrets(f"/fs/?access_token={signed}&x=1") == "/fs/?access_token=...&x=1"


@given(st.text(), st.text())
def test_a_secret_is_found_whatever_stands_around_it(before: str, after: str) -> None:
    found = without_secrets(f"{before}{TOKEN}{after}")
    assert TOKEN.secret not in found
    assert without_secrets(json.dumps(f"{before}{TOKEN}")).endswith('..."')


@given(st.text())
def test_other_texts_stay_as_they_are(text: str) -> None:
    if not any(sign in text.lower() for sign in ("eyj", "aefs", "//", "=")):
        assert without_secrets(text) == text


def test_no_log_shows_one_not_even_with_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(logging.INFO)
    try:
        raise ValueError(str(TOKEN))
    except ValueError:
        logging.getLogger("x").exception("refused %s", TOKEN)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert TOKEN.id in said
    assert TOKEN.secret not in said


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(f"no token {TOKEN}"),
        click.UsageError(f"{TOKEN} is no rule"),
        click.BadParameter(f"{TOKEN} is no number"),
        FileNotFoundError(2, "No such file", str(TOKEN)),
        RuntimeError(str(TOKEN)),
    ],
)
def test_no_error_of_a_command_repeats_one(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    report(error, verbosity=0)
    said = capsys.readouterr().err
    assert f"aefs_{TOKEN.id}_..." in said
    assert TOKEN.secret not in said


@pytest.mark.parametrize("escaped", ["%5F", "%5f"])
def test_a_token_is_left_out_of_a_target_that_escapes_it(escaped: str) -> None:
    found = without_secrets(f"/fs/@token/{str(TOKEN).replace('_', escaped)}/maps")
    assert found == f"/fs/@token/aefs{escaped}{TOKEN.id}{escaped}.../maps"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GET http://ada:s3cret%20@host:80/fs/a:b@c HTTP/1.1", "GET http://ada:...@host:80/fs/a:b@c HTTP/1.1"),
        ('"referer": "https://:pw@host/", "target": "/a@b"', '"referer": "https://:...@host/", "target": "/a@b"'),
        ("GET //ada:s3cret%20@host:80/fs/a HTTP/1.1", "GET //ada:...@host:80/fs/a HTTP/1.1"),
        ("http://ada@host/x:y@z", "http://ada@host/x:y@z"),
        ("http://host:80/@geo/city", "http://host:80/@geo/city"),
        ("http://host:80?x@y", "http://host:80?x@y"),
    ],
)
def test_the_password_in_a_url_is_left_out_and_nothing_else(text: str, told: str) -> None:
    assert without_secrets(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/fs/maps/?password=s3cret%20&sort=time", "/fs/maps/?password=...&sort=time"),
        ('"target": "/fs/?a=1&Token=opaque", "referer": ""', '"target": "/fs/?a=1&Token=...", "referer": ""'),
        ("/fs/?access_token=opaque#x", "/fs/?access_token=...#x"),
        ("/api/v1/tokens?page_token=next&page_size=2", "/api/v1/tokens?page_token=next&page_size=2"),
        ("/fs/maps/token=x/password=y", "/fs/maps/token=x/password=y"),
    ],
)
def test_what_a_query_calls_a_secret_is_left_out(text: str, told: str) -> None:
    assert without_secrets(text) == told
