"""How pieces lie in their files: any range of any piece, and nothing of one that was changed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.objects.piece_form import PART, PROOF, WHOLE, Form, Marks, count, open_parts, plain_size
from store.sealing.pieces import PieceSeal
from store.secret import Secret

SIZES = [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 5]
PIECE = os.urandom(max(SIZES))
FORMS: dict[str, Form] = {"marks": Marks(), "sealed": PieceSeal(Secret(bytes(32)), "store")}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


def read(form: Form, kept: bytes, offset: int, end: int, name: str = "n") -> bytes | None:
    """Read a range as a reader of files does: the parts in which it lies, and the head."""
    plain = plain_size(form.head, len(kept))
    if plain < 0:
        return None
    first, last = offset // PART, (end - 1) // PART
    parts = kept[form.head + first * WHOLE : form.head + (last + 1) * WHOLE]
    found = open_parts(form.opener(name, kept[: form.head], plain), parts, offset, end)
    return None if found is None else b"".join(found)


@pytest.mark.parametrize("size", SIZES)
def test_every_range_comes_back(form: Form, size: int) -> None:
    kept = form.lay("n", PIECE[:size])
    assert plain_size(form.head, len(kept)) == size
    assert len(kept) == form.head + size + count(size) * PROOF
    edges = sorted({at for at in (0, 1, PART - 1, PART, PART + 1, 2 * PART, size - 1, size) if 0 <= at <= size})
    for offset in edges:
        for end in edges:
            if offset < end:
                assert read(form, kept, offset, end) == PIECE[offset:end]


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_part_that_stands_elsewhere_proves_nothing(form: Form, size: int) -> None:
    kept = form.lay("n", PIECE[: 3 * PART])
    head, parts = kept[: form.head], [kept[form.head + k * WHOLE :][:WHOLE] for k in range(3)]
    swapped = head + parts[1] + parts[0] + parts[2]
    assert read(form, swapped, 0, PART) is None
    assert read(form, swapped, PART, 2 * PART) is None
    assert read(form, swapped, 2 * PART, 3 * PART) == PIECE[2 * PART : 3 * PART]
    assert read(form, head + parts[0] + parts[1], 0, PART) is None  # a piece of another size


def test_a_sealed_piece_opens_under_no_other_name() -> None:
    form = FORMS["sealed"]
    assert read(form, form.lay("n", b"piece"), 0, 5, name="other") is None


@given(kept=st.binary(max_size=3000), offset=st.integers(0, 3000), size=st.integers(1, 3000))
def test_any_bytes_are_no_piece(kept: bytes, offset: int, size: int) -> None:
    for form in FORMS.values():
        assert read(form, kept, offset, offset + size) is None


@given(at=st.integers(0, 3 * PART + 5 + 4 * PROOF + 31), bit=st.integers(0, 7))
def test_a_bit_that_flips_is_found_in_its_own_part(at: int, bit: int) -> None:
    for form in FORMS.values():
        kept = bytearray(form.lay("n", PIECE))
        at = min(at, len(kept) - 1)
        kept[at] ^= 1 << bit
        damaged = (at - form.head) // WHOLE  # -1: the head, which all parts need
        for number in range(4):
            start, end = number * PART, min((number + 1) * PART, len(PIECE))
            expected = None if damaged in (-1, number) else PIECE[start:end]
            assert read(form, bytes(kept), start, end) == expected
