import pytest
from botocore import exceptions as boto

from store.errors import (
    BadAddress,
    ConditionsIgnored,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreUnavailable,
)
from store.objects.s3_errors import status_of, translate


def answer(status: int, code: str = "", headers: dict[str, str] | None = None) -> boto.ClientError:
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
        "PutObject",
    )


ANSWERS = [
    # status, code, error of a plain call, error of a conditional write
    (404, "NoSuchKey", ObjectMissing, PreconditionFailed),
    (404, "404", ObjectMissing, PreconditionFailed),
    (404, "NoSuchBucket", StoreMissing, StoreMissing),
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


def test_a_message_is_one_line_and_names_code_and_status() -> None:
    error = translate(answer(403, "AccessDenied"), key="k", store="s3://b/p")
    assert str(error) == (
        "store s3://b/p refused it: AccessDenied (HTTP 403) words of the server; check the credentials and their rights"
    )
