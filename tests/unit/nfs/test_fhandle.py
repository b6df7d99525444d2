"""Handles say where a node is, and nobody without the key can make or alter one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfs.fhandle import BadHandle, FileHandles, Handle
from store.vfs.tree import Place, Space

KEY = b"secret"
PLACES = st.builds(
    Place,
    st.sampled_from(Space),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**48 - 1),
)
PLACE = Place(Space.STATE, 0x1122334455667788, 0x99AABBCC, bytes(range(16)), 0xDDEEFF001122)


@given(PLACES, st.integers(0, 2**48 - 1), st.binary(min_size=8, max_size=8))
def test_what_was_put_into_a_handle_comes_out(place: Place, export: int, grant: bytes) -> None:
    handle = FileHandles(KEY).encode(place, export=export, grant=grant)
    assert len(handle) == 64
    assert FileHandles(KEY).decode(handle) == Handle(place, export, grant)


@given(PLACES, st.integers(0, 511))
def test_any_flipped_bit_makes_a_handle_bad(place: Place, bit: int) -> None:
    handles = FileHandles(KEY)
    good = handles.encode(place)
    handles.decode(good)
    with pytest.raises(BadHandle):
        handles.decode((int.from_bytes(good, "big") ^ 1 << bit).to_bytes(64, "big"))


@given(st.binary(max_size=80))
def test_any_other_bytes_are_bad(handle: bytes) -> None:
    with pytest.raises(BadHandle):
        FileHandles(KEY).decode(handle)


def test_the_bytes_are_fixed_for_ever() -> None:
    handle = FileHandles(KEY).encode(PLACE, export=0x010203040506, grant=b"grantees")
    assert handle[:50].hex() == (
        "01" + "04" + "010203040506" + "1122334455667788" + "99aabbcc"
        + "000102030405060708090a0b0c0d0e0f" + "ddeeff001122" + b"grantees".hex()
    )  # fmt: skip
    assert handle[50:].hex() == "43d2ed68ca70e324a063c809d677"


def test_handles_of_another_key_are_bad() -> None:
    with pytest.raises(BadHandle):
        FileHandles(b"another").decode(FileHandles(KEY).encode(PLACE))


def test_two_tags_of_one_state_have_two_handles() -> None:
    handles = FileHandles(KEY)
    assert handles.encode(PLACE) != handles.encode(PLACE._replace(tag=1))
