from email.message import EmailMessage
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.disposition import attachment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"a b.html", 'attachment; filename="a b.html"'),
        (b'a"b\\c%41.svg', "attachment; filename=\"a_b_c_41.svg\"; filename*=UTF-8''a%22b%5Cc%2541.svg"),
        (
            "Größe 😀.xml".encode(),
            "attachment; filename=\"Gr__e _.xml\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%F0%9F%98%80.xml",
        ),
        (b"\xff.html", "attachment; filename=\"_.html\"; filename*=UTF-8''%EF%BF%BD.html"),
    ],
)
def test_a_name_is_spelt_for_old_and_new_browsers(name: bytes, value: str) -> None:
    assert attachment(name) == value


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=80))
def test_any_name_is_one_header_that_gives_it_back(name: str) -> None:
    value = attachment(name.encode())
    assert value.isascii()
    assert value.isprintable()
    extended = value.partition("; filename*=UTF-8''")[2]
    if extended:
        assert unquote_to_bytes(extended).decode() == name
    else:
        message = EmailMessage()
        message["Content-Disposition"] = value
        assert message.get_filename() == name
