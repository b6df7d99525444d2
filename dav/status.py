"""The one table from errors to HTTP status codes (RFC 9110 section 15), for `/webdav/` and `/fs/` alike.

A test walks the leaves of `StoreError` and `WireError` and proves that each has its row. Threads: constant.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from dav.wire import errors as wire
from store import errors as store

STATUS: Final[Mapping[type[Exception], int]] = {
    # An object that the store should hold is not what a client asked for: the fault is on our side.
    store.ObjectMissing: 500,
    store.StoreMissing: 503,
    store.DatasetMissing: 404,
    store.TagMissing: 404,
    store.PathMissing: 404,
    store.NotAFolder: 404,
    store.StaleNode: 404,
    store.HiddenNode: 404,
    store.AmbiguousNode: 404,
    store.PreconditionFailed: 412,
    store.TagExists: 409,
    store.TagMoved: 409,
    store.TagNameTaken: 409,
    store.Contended: 503,
    store.ObjectCorrupt: 500,
    store.BlockCorrupt: 500,
    store.Replayed: 500,
    store.StoreUnavailable: 503,
    store.OutcomeUnknown: 503,
    store.PushLost: 503,
    store.BucketMissing: 503,
    store.StoreFull: 507,
    store.NotWarm: 503,
    store.StoreDenied: 502,  # the gateway's own credentials, not the client's: never 401 or 403
    store.FeatureMissing: 503,
    store.ConditionsIgnored: 403,
    store.KeyNeeded: 503,
    store.KeyWrong: 503,
    store.NotEncrypted: 503,
    store.StoreSwapped: 503,
    store.TreeReadOnly: 403,
    store.BadName: 400,
    store.BadAddress: 500,
    store.SourceUnusable: 422,
    store.SourceChanged: 409,
    store.DestinationForeign: 409,
    store.DestinationUnusable: 409,
    store.IsAFolder: 409,
    store.NotALink: 409,
    wire.BadXml: 400,
    wire.BodyBroken: 400,
    wire.BodyTooLarge: 413,
    wire.DepthRefused: 403,
}


def status_of(error: Exception) -> int:
    """Return the status code for an error: of its own class, else of the nearest class above; 500 for strangers."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def explain(error: Exception) -> str:
    """Return what a client may read of an error: its message when the client can act on it, the bare phrase otherwise.

    Messages of the 5xx kind name stores, keys and hosts; they belong in the log.
    """
    code = status_of(error)
    return str(error) if code < 500 else HTTPStatus(code).phrase
