from datetime import datetime, timedelta
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.dates import date_time, http_date

YEAR_1, YEAR_9999 = -62135596800, 253402300799


@given(st.integers(YEAR_1, YEAR_9999))
def test_any_time_with_four_digits_of_year_is_spelt_as_the_library_does(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)
    assert date_time(seconds) == (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat() + "Z"


@pytest.mark.parametrize(("seconds", "nearest"), [(YEAR_1 - 1, YEAR_1), (-(10**20), YEAR_1), (10**20, YEAR_9999)])
def test_a_time_without_a_spelling_becomes_the_nearest_with_one(seconds: int, nearest: int) -> None:
    assert http_date(seconds) == http_date(nearest)
    assert date_time(seconds) == date_time(nearest)
