"""What a document's sum promises."""

import json

import pytest

from store import jsondoc
from store.errors import ObjectCorrupt

VALUE = {"name": "geo", "tags": {"latest": {"n": 1, "sum": "0" * 32}}, "zero": [0, "0" * 32], "text": "é"}


def read(data: bytes) -> dict[str, object]:
    return jsondoc.decode("key", data, limit=1 << 20).rest()


def test_what_was_written_is_read_without_its_sum() -> None:
    data = jsondoc.encode(VALUE)
    assert "sum" in json.loads(data)
    assert read(data) == VALUE
    assert jsondoc.encode(json.loads(data)) == data


def test_no_flipped_bit_changes_what_is_read() -> None:
    data = jsondoc.encode(VALUE)
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = read(bytes(damaged))
        except ObjectCorrupt:
            continue
        found = {name: value for name, value in found.items() if name in VALUE}  # the word `sum` itself was hit
        assert found == VALUE


@pytest.mark.parametrize("told", ["", "0", "g" * 32, "0" * 32, 7, [1], {"a": 1}])
def test_a_sum_that_is_none_is_damage(told: object) -> None:
    with pytest.raises(ObjectCorrupt, match="sum"):
        read(json.dumps({"a": 1, "sum": told}).encode())


def test_documents_of_other_programs_may_have_no_sum_or_other_spaces() -> None:
    assert read(b'{"a": 1}') == {"a": 1}
    data = b'{ "sum": "%s", "a": 1 }' % (b"0" * 32)
    summed = data.replace(b"0" * 32, jsondoc._digits(data))
    assert read(summed + b"  ") == {"a": 1}


@pytest.mark.parametrize("text", ['{"a":1e400}', '{"a":-1e400}', '{"sum":"\\ud800"}', '{"sum":"\\u00ff"}'])
def test_numbers_without_end_and_sums_that_are_no_text_are_damage(text: str) -> None:
    with pytest.raises(ObjectCorrupt):
        read(text.encode())
