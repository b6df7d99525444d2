"""Which form of a folder is given for which `Accept`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.accept import best_of

HTML, JSON = "text/html", "application/json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, HTML),
        ("", HTML),
        ("*/*", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),  # browsers
        ("application/json, text/plain, */*", JSON),  # axios
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/json;charset=utf-8;q=0.2, text/html;q=0.1", JSON),
        ("application/*", JSON),
        ("application/json;q=0", HTML),
        ("application/json;q=0.000, */*;q=0.1", HTML),
        ("text/html;q=0, */*", JSON),
        ("text/html, application/json", HTML),
        ("application/json, text/html;q=0.5", JSON),
        ("text/html;q=0.5, application/json;q=0.9", JSON),
        ("application/json;q=0.5, text/html", HTML),
        ("application/json;q=0.5, */*;q=0.8", HTML),
        ("application/jsonl", HTML),
        ("application/json-seq, x/y", HTML),
        ("image/png", HTML),
        ("nonsense, application/json;q=x", JSON),
    ],
)
def test_the_form_that_is_liked_best_is_given(accept: str | None, expected: str) -> None:
    assert best_of(accept, (HTML, JSON)) == expected


@given(st.text(alphabet="aptexlicon/jsh*; ,q=01.\t", max_size=200))
def test_any_field_chooses_one(accept: str) -> None:
    assert best_of(accept, (HTML, JSON)) in (HTML, JSON)
