from collections.abc import Iterator

import pytest

from dav.status import STATUS, explain, status_of
from dav.wire.errors import WireError
from store.errors import PathMissing, StoreError, StoreUnavailable


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


@pytest.mark.parametrize("leaf", [*leaves(StoreError), *leaves(WireError)])
def test_every_error_has_its_own_status(leaf: type[Exception]) -> None:
    assert leaf in STATUS
    assert 400 <= STATUS[leaf] < 600


def test_messages_that_name_stores_stay_on_our_side() -> None:
    error = StoreUnavailable("s3://secret-bucket", "no route")
    assert status_of(error) == 503
    assert explain(error) == "Service Unavailable"


def test_messages_about_what_was_asked_for_reach_the_client() -> None:
    assert "no such file or folder: x" in explain(PathMissing(b"x"))


def test_strangers_are_500() -> None:
    assert status_of(KeyError("x")) == 500
