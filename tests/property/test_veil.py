"""A sealed file behaves as a plain one, whatever is done to it, and holds whatever was flushed."""

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from store.veil import Veil
from store.veiled_file import HELD, PAGE, VeiledFile

VEIL = Veil(b"k" * 32)
NEAR_EDGES = st.builds(lambda page, off: max(0, page * PAGE + off), st.integers(0, HELD + 4), st.integers(-3, 3))
PLACES = NEAR_EDGES | st.integers(0, 3 * PAGE)
SIZES = st.integers(0, 20) | st.integers(0, 3 * PAGE) | st.sampled_from([PAGE - 1, PAGE, PAGE + 1])
STEPS = st.lists(
    st.tuples(st.just("write"), PLACES, SIZES)
    | st.tuples(st.just("read"), PLACES, SIZES)
    | st.tuples(st.just("append"), st.just(0), SIZES)
    | st.tuples(st.sampled_from(["flush", "reopen"]), st.just(0), st.just(0)),
    max_size=20,
)


def content(step: int, size: int) -> bytes:
    return (b"%d " % step * (size // 2 + 1))[:size]


@given(STEPS)
def test_a_sealed_file_is_like_a_plain_one(steps: list[tuple[str, int, int]]) -> None:
    model = bytearray()
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / "file"
        file = VEIL.open(path, "x+b", b"model")
        for number, (what, at, size) in enumerate(steps):
            if what == "reopen":
                file.close()
                file = VEIL.open(path, "r+b", b"model")
            elif what == "flush":
                file.flush()
            elif what == "read":
                assert file.pread(size, at) == model[at : at + size]
                file.seek(at)
                assert file.read(size) == model[at : at + size]
                assert file.tell() == at + len(model[at : at + size])
            else:
                at = file.seek(0, os.SEEK_END) if what == "append" else file.seek(at)
                data = content(number, size)
                assert file.write(data) == size
                if size:
                    model.extend(bytes(max(0, at - len(model))))
                    model[at : at + size] = data
            assert held(file) <= HELD
        file.close()
        with VEIL.open(path, "rb", b"model") as file:
            assert file.read() == model


def held(file: VeiledFile) -> int:
    return len(file._pages)


@given(st.text(), st.binary(max_size=20), st.binary(min_size=1, max_size=100))
def test_lines_and_words_come_back(text: str, purpose: bytes, data: bytes) -> None:
    assert VEIL.unline(VEIL.line(text, purpose), purpose) == text
    assert VEIL.unword(VEIL.word(data, purpose), purpose) == data


@given(st.text(), st.binary(max_size=200))
def test_any_text_is_a_line_or_is_not(text: str, data: bytes) -> None:
    assert VEIL.unline(text, b"p") is None
    assert VEIL.unword(data, b"p") is None
