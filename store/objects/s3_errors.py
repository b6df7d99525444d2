"""What boto3's exceptions and S3's error answers mean to a caller of the store. Pure functions, for any thread.

S3 spells errors as a status and a code (Amazon S3 API reference, "Error responses"); stores that speak S3 invent codes
of their own, so the status decides where a code is not known.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from botocore import exceptions as boto

from store.errors import (
    BadAddress,
    BucketMissing,
    ConditionsIgnored,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_RENEW: Final = "renew the credentials (AWS_SESSION_TOKEN, or the sign-in of AWS_PROFILE)"
_KEYS: Final = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_CURES: Final[Mapping[str, str]] = {  # code of a refusal -> what to do about it
    "AuthorizationHeaderMalformed": "check the region, as in ?region=eu-central-1 or AWS_REGION",
    "ExpiredToken": _RENEW,
    "InvalidAccessKeyId": _KEYS,
    "InvalidToken": _RENEW,
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": _KEYS,
    "TokenRefreshRequired": _RENEW,
    "AccessDenied": "",  # the right that lacks
}
_RIGHTS: Final[Mapping[str, str]] = {  # operation -> the right that it needs (Amazon S3 user guide, "Actions")
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
}
_FULL: Final = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "StorageFull"})
_BUSY: Final = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"})
_ELSEWHERE: Final = frozenset({"PermanentRedirect", "IllegalLocationConstraintException"})
_PRECONDITION: Final = frozenset({404, 409, 412})

# Nothing was sent, so even a conditional write has a clear outcome: it did not happen.
_NEVER_SENT: Final = (
    boto.EndpointConnectionError,
    boto.ConnectTimeoutError,
    boto.ProxyConnectionError,
    boto.SSLError,
)
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.ProfileNotFound,
    boto.NoAuthTokenError,
)
_BAD_SETTING: Final = (
    boto.ParamValidationError,
    boto.InvalidRegionError,
    boto.UnknownEndpointError,
    boto.EndpointResolutionError,
)


def status_of(error: BaseException | None) -> int:
    """Return the HTTP status of an error answer; 0 where there was no answer."""
    if not isinstance(error, boto.ClientError):
        return 0
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status


def translate(error: Exception, *, key: str, store: str, conditional: bool = False, now_s: float = 0.0) -> StoreError:
    """Return the store's error for what boto3, or reading an answer's body, raised.

    Args:
        error: a `BotoCoreError`, `ClientError`, or a connection's own error.
        key: the object's key below the store's prefix; "" for calls about the bucket.
        store: the store's address, for messages.
        conditional: the call was a conditional write.
        now_s: seconds since 1970, for a `Retry-After` that is a date.
    """
    if isinstance(error, boto.ClientError):
        return _answer(error, key, store, conditional, now_s)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreDenied(store, _one_line(error), action=f"access to {_spell(key)}", cure=_KEYS)
    if isinstance(error, _BAD_SETTING):
        return BadAddress(store, _one_line(error))
    if conditional and not isinstance(error, _NEVER_SENT):
        return OutcomeUnknown(key, _one_line(error))
    return StoreUnavailable(store, f"{_spell(key)}: {_one_line(error)}")


def _answer(error: boto.ClientError, key: str, store: str, conditional: bool, now_s: float) -> StoreError:
    status = status_of(error)
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "")
    why = f"{code or 'error'} (HTTP {status}) {_one_line(message)}".rstrip()
    if code == "NoSuchBucket":
        return BucketMissing(store)
    if code in _FULL or status == 507:
        return StoreFull(store)
    if code in _CURES or (status in (401, 403) and code not in _BUSY):
        return _denied(error, code, status, key, store, why)
    if code in _ELSEWHERE or status in (301, 307, 308):
        return BadAddress(store, f"the bucket is in another region: {why}")
    if conditional and status in _PRECONDITION:
        return PreconditionFailed(key)
    if conditional and status == 501:
        return ConditionsIgnored(store, why)
    if status == 404:
        return ObjectMissing(key, store) if key else BucketMissing(store)
    if code in _BUSY or status >= 500 or status in (0, 408, 409, 425, 429) or 200 <= status < 300:
        # A 200 with an error inside is how S3 reports trouble found after the answer began.
        if conditional:
            return OutcomeUnknown(key, why, _retry_after_s(error, now_s))
        return StoreUnavailable(store, f"{error.operation_name} of {_spell(key)}: {why}", _retry_after_s(error, now_s))
    return StoreDenied(store, why, action=f"{error.operation_name} of {_spell(key)}")


def _denied(error: boto.ClientError, code: str, status: int, key: str, store: str, why: str) -> StoreDenied:
    right = _RIGHTS.get(error.operation_name, f"s3:{error.operation_name}")
    cure = _CURES.get(code) or (_KEYS if status == 401 else f"the credentials lack the right {right} there")
    return StoreDenied(store, why, action=f"{error.operation_name} of {_spell(key)}", cure=cure)


def _spell(key: str) -> str:
    return repr(key) if key else "the bucket"


def _retry_after_s(error: boto.ClientError, now_s: float) -> float | None:
    """Read `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date."""
    text = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s) if text and now_s else None
    except ValueError:
        return None


def _one_line(what: object) -> str:
    text = " ".join(str(what).split()) or type(what).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."
