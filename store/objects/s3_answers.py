"""A bound for what an S3 server answers besides objects: errors, listings, and what follows a write.

botocore reads these whole before anyone sees their length, and has no setting or event that could stop it. So its
session is wrapped, the part of it that sends a request and returns the answer. An object's own bytes stay a stream;
`S3Store` reads them.

Any thread: the wrapped session allows it, and an answer belongs to one call.
"""

from collections.abc import Iterator
from typing import Any, Final

import urllib3.exceptions
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

ANSWER_LIMIT: Final = 16 << 20  # bytes; a listing's 1,000 keys of 1,024 bytes take 4 MB where each byte is escaped
_ERRORS_FROM: Final = 300  # statuses whose bodies botocore reads as errors


class AnswerTooLong(urllib3.exceptions.HTTPError):
    """No S3 server has so much to say."""

    def __init__(self, status: int) -> None:
        super().__init__(f"an answer with status {status} of more than {ANSWER_LIMIT} bytes")


class BoundedSession:
    """Sends as the session within does, but gives an answer up that is too long."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request; read the answer, unless it is an object.

        Raises:
            AnswerTooLong: it is over the limit; its connection is closed.
            BotoCoreError, urllib3's HTTPError: it could not be sent or read.
        """
        is_object, request.stream_output = request.stream_output, True  # so that the session leaves the reading to us
        answer: AWSResponse = self._session.send(request)
        if not is_object or answer.status_code >= _ERRORS_FROM:
            answer.raw = _Bounded(answer.raw, answer.status_code)
            _ = answer.content  # read here and kept by the answer
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class _Bounded:
    """The body of an answer, as far as botocore's `content` needs it."""

    def __init__(self, body: Any, status: int) -> None:
        self._body, self._status = body, status

    def stream(self) -> Iterator[bytes]:
        """Yield what comes, up to the limit."""
        taken = 0
        for part in self._body.stream():
            taken += len(part)
            if taken > ANSWER_LIMIT:
                self._body.close()
                raise AnswerTooLong(self._status)
            yield part
