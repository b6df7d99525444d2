"""The one table from errors to gRPC's status codes (github.com/grpc/grpc, doc/statuscodes.md).

A test walks the leaves of `StoreError`, `GatewayError`, `OperationError` and `AuthError` and proves that each has its
row. Threads: constant.
"""

import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog
from grpc import StatusCode

from auth import errors as auth
from gateway import errors as gateway
from gateway.access.entrance import refusal
from gateway.hush import without_secrets
from gateway.operations import errors as operations
from store import errors as store

LONGEST: Final = 512  # characters of what is said of an error: each may take 12 bytes, and clients take 8 KiB in all
RETRY_MS: Final = 5000  # until a call is repeated that the store did not answer
TOLD: Final = frozenset(  # whoever asked can do something about these
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
    }
)
CODES: Final[Mapping[type[Exception], StatusCode]] = {
    # An object that the store should hold is not what a client asked for: the fault is on our side.
    store.ObjectMissing: StatusCode.DATA_LOSS,
    store.StoreMissing: StatusCode.UNAVAILABLE,
    store.DatasetMissing: StatusCode.NOT_FOUND,
    store.TagMissing: StatusCode.NOT_FOUND,
    store.PathMissing: StatusCode.NOT_FOUND,
    store.NotAFolder: StatusCode.NOT_FOUND,
    store.StaleNode: StatusCode.NOT_FOUND,
    store.HiddenNode: StatusCode.NOT_FOUND,
    store.AmbiguousNode: StatusCode.NOT_FOUND,
    store.PreconditionFailed: StatusCode.ABORTED,
    store.TagExists: StatusCode.ALREADY_EXISTS,
    store.TagMoved: StatusCode.ABORTED,
    store.TagNameTaken: StatusCode.ALREADY_EXISTS,
    store.Contended: StatusCode.UNAVAILABLE,
    store.ObjectCorrupt: StatusCode.DATA_LOSS,
    store.BlockCorrupt: StatusCode.DATA_LOSS,
    store.Replayed: StatusCode.DATA_LOSS,
    store.StoreUnavailable: StatusCode.UNAVAILABLE,
    store.OutcomeUnknown: StatusCode.UNKNOWN,  # never repeated by a client's own: it may have taken place
    store.PushLost: StatusCode.UNAVAILABLE,
    store.BucketMissing: StatusCode.UNAVAILABLE,
    store.StoreFull: StatusCode.UNAVAILABLE,
    store.NotWarm: StatusCode.UNAVAILABLE,
    store.StoreDenied: StatusCode.INTERNAL,  # the gateway's own credentials, not the client's
    store.FeatureMissing: StatusCode.UNAVAILABLE,
    store.ConditionsIgnored: StatusCode.UNAVAILABLE,
    store.KeyNeeded: StatusCode.UNAVAILABLE,
    store.KeyWrong: StatusCode.UNAVAILABLE,
    store.NotEncrypted: StatusCode.UNAVAILABLE,
    store.StoreSwapped: StatusCode.UNAVAILABLE,
    store.TreeReadOnly: StatusCode.PERMISSION_DENIED,
    store.BadName: StatusCode.INVALID_ARGUMENT,
    store.BadAddress: StatusCode.INTERNAL,
    store.SourceUnusable: StatusCode.FAILED_PRECONDITION,
    store.SourceChanged: StatusCode.ABORTED,
    store.DestinationForeign: StatusCode.FAILED_PRECONDITION,
    store.DestinationUnusable: StatusCode.FAILED_PRECONDITION,
    store.IsAFolder: StatusCode.FAILED_PRECONDITION,
    store.NotALink: StatusCode.FAILED_PRECONDITION,
    gateway.TokenMissing: StatusCode.NOT_FOUND,
    gateway.TokenTaken: StatusCode.ALREADY_EXISTS,
    gateway.CertificateTaken: StatusCode.INTERNAL,
    gateway.UserMissing: StatusCode.INTERNAL,
    gateway.UserTaken: StatusCode.INTERNAL,
    gateway.PolicyMissing: StatusCode.NOT_FOUND,
    gateway.PolicyMoved: StatusCode.ABORTED,
    gateway.LoginWanted: StatusCode.INTERNAL,  # this and those below: of commands that ask a gateway
    gateway.ServerRefused: StatusCode.INTERNAL,
    gateway.ServerMissing: StatusCode.INTERNAL,
    gateway.ServerConflict: StatusCode.INTERNAL,
    gateway.ServerUnusable: StatusCode.INTERNAL,
    gateway.ServerUnreachable: StatusCode.INTERNAL,
    gateway.ServerFailed: StatusCode.INTERNAL,
    operations.LoginNeeded: StatusCode.UNAUTHENTICATED,
    operations.NotAllowed: StatusCode.PERMISSION_DENIED,
    operations.BadArgument: StatusCode.INVALID_ARGUMENT,
    operations.BadWish: StatusCode.INVALID_ARGUMENT,
    operations.ConditionFailed: StatusCode.ABORTED,
    operations.OutOfRange: StatusCode.OUT_OF_RANGE,
    auth.BadCredentials: StatusCode.UNAUTHENTICATED,
    auth.Throttled: StatusCode.RESOURCE_EXHAUSTED,
    auth.Undecided: StatusCode.UNAVAILABLE,
}

_log = structlog.stdlib.get_logger("aetherfs.grpc")


class Answer(NamedTuple):
    """What a client is told of an error."""

    code: StatusCode
    details: str
    metadata: tuple[tuple[str, str], ...] = ()  # behind the answer


def code_of(error: BaseException) -> StatusCode:
    """Return the code for an error: of its own class, else of the nearest class above; INTERNAL for strangers."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), StatusCode.INTERNAL)


def answer_of(error: Exception, method: str) -> Answer:
    """Return what a client is told; what is our fault is logged under a number that the client is told too."""
    code = code_of(error)
    if isinstance(error, auth.AuthError):
        later = round(error.retry_after_s * 1000) if isinstance(error, auth.Throttled) else RETRY_MS
        metadata = () if code is StatusCode.UNAUTHENTICATED else (_pushback(later),)
        return Answer(code, refusal(error), metadata)
    if code in TOLD:
        return Answer(code, _text(str(error)))
    request_id = secrets.token_hex(8)
    _log.error(
        "request failed", request_id=request_id, method=method, code=code.name, error=without_secrets(str(error)),
        exc_info=error if not isinstance(error, store.StoreError) else None,
    )  # fmt: skip
    if code is StatusCode.UNAVAILABLE:
        said = "the store does not answer, or takes no changes, at the moment"
        return Answer(code, f"{said} (request {request_id})", (_pushback(RETRY_MS),))
    said = "whether it was done is not known: look" if code is StatusCode.UNKNOWN else "it failed"
    return Answer(code, f"{said} (request {request_id})")


def _pushback(after_ms: int) -> tuple[str, str]:
    """Return what clients that repeat calls by themselves go by (gRFC A6)."""
    return "grpc-retry-pushback-ms", str(max(1, after_ms))


def _text(message: str) -> str:
    return message[:LONGEST].encode("utf-8", "backslashreplace").decode()
