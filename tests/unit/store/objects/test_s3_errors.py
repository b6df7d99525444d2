import pytest
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
from store.objects.s3_errors import status_of, translate


def answer(
    status: int, code: str = "", headers: dict[str, str] | None = None, operation: str = "PutObject"
) -> boto.ClientError:
    return boto.ClientError(
        {
            "Error": {"Code": code, "Message": "words\nof the server"},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": headers or {},
                "RequestId": "r",
                "HostId": "h",
                "RetryAttempts": 0,
            },
        },
        operation,
    )


ANSWERS = [
    # status, code, error of a plain call, error of a conditional write
    (404, "NoSuchKey", ObjectMissing, PreconditionFailed),
    (404, "404", ObjectMissing, PreconditionFailed),
    (404, "NoSuchBucket", BucketMissing, BucketMissing),
    (412, "PreconditionFailed", StoreDenied, PreconditionFailed),
    (409, "ConditionalRequestConflict", StoreUnavailable, PreconditionFailed),
    (409, "OperationAborted", StoreUnavailable, PreconditionFailed),
    (401, "Unauthorized", StoreDenied, StoreDenied),
    (403, "AccessDenied", StoreDenied, StoreDenied),
    (403, "403", StoreDenied, StoreDenied),
    (400, "ExpiredToken", StoreDenied, StoreDenied),
    (400, "InvalidRequest", StoreDenied, StoreDenied),
    (403, "RequestTimeTooSkewed", StoreDenied, StoreDenied),
    (403, "QuotaExceeded", StoreFull, StoreFull),
    (507, "InsufficientStorage", StoreFull, StoreFull),
    (301, "PermanentRedirect", BadAddress, BadAddress),
    (400, "RequestTimeout", StoreUnavailable, OutcomeUnknown),
    (429, "TooManyRequests", StoreUnavailable, OutcomeUnknown),
    (500, "InternalError", StoreUnavailable, OutcomeUnknown),
    (501, "NotImplemented", StoreUnavailable, ConditionsIgnored),
    (502, "", StoreUnavailable, OutcomeUnknown),
    (503, "SlowDown", StoreUnavailable, OutcomeUnknown),
    (504, "", StoreUnavailable, OutcomeUnknown),
    (200, "InternalError", StoreUnavailable, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "code", "plain", "conditional"), ANSWERS)
def test_each_answer_has_one_meaning_for_plain_and_one_for_conditional_calls(
    status: int, code: str, plain: type[StoreError], conditional: type[StoreError]
) -> None:
    error = answer(status, code)
    assert type(translate(error, key="k", store="s3://b")) is plain
    assert type(translate(error, key="k", store="s3://b", conditional=True)) is conditional
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "plain", "conditional"),
    [
        (boto.EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable, StoreUnavailable),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable, StoreUnavailable),
        (boto.ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable, OutcomeUnknown),
        (boto.ConnectionClosedError(endpoint_url="http://x"), StoreUnavailable, OutcomeUnknown),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable, OutcomeUnknown),
        (ConnectionResetError(104, "reset"), StoreUnavailable, OutcomeUnknown),
        (boto.NoCredentialsError(), StoreDenied, StoreDenied),
        (boto.ProfileNotFound(profile="x"), StoreDenied, StoreDenied),
        (boto.ParamValidationError(report="bucket"), BadAddress, BadAddress),
    ],
)
def test_each_failure_without_an_answer_says_whether_a_write_may_have_happened(
    error: Exception, plain: type[StoreError], conditional: type[StoreError]
) -> None:
    assert type(translate(error, key="k", store="s3://b")) is plain
    assert type(translate(error, key="k", store="s3://b", conditional=True)) is conditional


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 5.0),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(text: str, seconds: float | None) -> None:
    error = translate(answer(503, "SlowDown", {"retry-after": text}), key="k", store="s", now_s=784_111_772.0)
    assert isinstance(error, StoreUnavailable)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (403, "AccessDenied", "the credentials lack the right s3:GetObject there"),
        (403, "403", "the credentials lack the right s3:GetObject there"),
        (403, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (401, "Unauthorized", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (400, "ExpiredToken", "renew the credentials (AWS_SESSION_TOKEN, or the sign-in of AWS_PROFILE)"),
        (403, "RequestTimeTooSkewed", "set this machine's clock"),
    ],
)
def test_a_refusal_names_in_one_line_what_was_asked_of_which_object_and_what_to_do(
    status: int, code: str, cure: str
) -> None:
    error = translate(answer(status, code, operation="HeadObject"), key="packs/k", store="s3://b/p")
    assert str(error) == (
        f"store s3://b/p refused HeadObject of 'packs/k': {code} (HTTP {status}) words of the server; {cure}"
    )


def test_missing_credentials_are_told_by_the_names_of_the_variables() -> None:
    assert "AWS_ACCESS_KEY_ID" in str(translate(boto.NoCredentialsError(), key="k", store="s3://b/p"))


@pytest.mark.parametrize(
    "error",
    [answer(503, "SlowDown", {"retry-after": "7"}), boto.ReadTimeoutError(endpoint_url="http://x")],
)
@pytest.mark.parametrize("conditional", [True, False])
def test_a_store_that_cannot_be_reached_is_told_with_the_object_that_was_asked_for(
    error: Exception, conditional: bool
) -> None:
    found = translate(error, key="packs/k", store="s3://b/p", conditional=conditional)
    assert "'packs/k'" in str(found)
    assert isinstance(found, StoreUnavailable | OutcomeUnknown)
    assert found.retry_after_s == (7.0 if isinstance(error, boto.ClientError) else None)
