"""Every error that an operation, a login, the store or the gateway may have has its code of gRPC."""

from collections.abc import Iterator

import pytest
from grpc import StatusCode

from auth.errors import AuthError, BadCredentials, Throttled, Undecided
from gateway.errors import GatewayError
from gateway.operations.errors import OperationError
from gateway.rpc.codes import CODES, LONGEST, TOLD, answer_of, code_of
from store.errors import DatasetMissing, PathMissing, StoreDenied, StoreError, StoreUnavailable


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    """Yield those of the same module: others are kinds of theirs, which a module keeps to itself."""
    below = [each for each in kind.__subclasses__() if each.__module__ == kind.__module__]
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


@pytest.mark.parametrize(
    "leaf", [*leaves(StoreError), *leaves(GatewayError), *leaves(OperationError), *leaves(AuthError)]
)
def test_every_error_has_its_own_code(leaf: type[Exception]) -> None:
    assert leaf in CODES
    assert CODES[leaf] is not StatusCode.OK


def test_strangers_are_internal() -> None:
    assert code_of(KeyError("x")) is StatusCode.INTERNAL


@pytest.mark.parametrize("error", [StoreUnavailable("s3://secret", "no route"), StoreDenied("s3://secret", "no")])
def test_messages_that_name_stores_stay_on_our_side(error: StoreError) -> None:
    told = answer_of(error, "GetTag")
    assert told.code not in TOLD
    assert "secret" not in told.details


def test_messages_about_what_was_asked_for_reach_the_client_bounded_and_as_text() -> None:
    assert answer_of(DatasetMissing("x"), "GetTag").details == str(DatasetMissing("x"))
    assert len(answer_of(PathMissing(b"x" * 5000), "ReadFile").details) == LONGEST
    answer_of(PathMissing("\udcff"), "ReadFile").details.encode()


def test_a_login_that_is_refused_says_no_more_than_http_does() -> None:
    told = answer_of(BadCredentials("unknown user ada"), "GetTag")
    assert told == (
        StatusCode.UNAUTHENTICATED, "wrong user, password or token, or one that is no longer good", (),
    )  # fmt: skip
    told = answer_of(Throttled("ada from 192.0.2.7", 12.5), "GetTag")
    assert (told.code, told.metadata) == (StatusCode.RESOURCE_EXHAUSTED, (("grpc-retry-pushback-ms", "12500"),))
    assert "ada" not in told.details
    assert answer_of(Undecided("no route to secret"), "GetTag").code is StatusCode.UNAVAILABLE
