"""An object store in an S3 bucket, on boto3 (Amazon S3 API reference: GetObject, PutObject, ListObjectsV2, ...).

boto3's own retries are off for every call: a conditional write whose answer was lost would be answered 412 on the
second try and look like somebody else's, and everything else is repeated by the retry wrapper alone. ETags are kept as
the server spells them, quotes included; the guard knows which servers want them back without.

What comes back is checked before anyone sees it: the length against what was announced, `Content-Range` against what
was asked. A server that ignores ranges is slow here but never wrong.

Threads: every method may be called from any thread; each call takes a connection from a pool of bounded size, and waits
where all are taken.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import boto3
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from store.errors import BucketMissing, ObjectCorrupt, StoreError, StoreUnavailable
from store.objects.address import DEFAULT_POOL, S3Address, check_endpoint
from store.objects.base import Buffer, Fetched, ObjectInfo, check_fetched
from store.objects.keys import check_key, check_prefix, check_range
from store.objects.listing import PagedListing
from store.objects.retry import STANDARD
from store.objects.s3_answers import BoundedSession
from store.objects.s3_clock import StoreClock
from store.objects.s3_errors import status_of, translate

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S: Final = 5.0  # also for each piece of a request to be taken
PAGE_SIZE: Final = 1000  # the most that S3 gives
DEFAULT_REGION: Final = "us-east-1"  # what servers other than Amazon's take; Amazon's redirects to the right one

# What urllib3 raises while a body is read is not always dressed as a BotoCoreError.
_FAILURES: Final = (BotoCoreError, ClientError, urllib3.exceptions.HTTPError, OSError)
_NOT_MODIFIED: Final = 304
_RANGE_EMPTY: Final = 416
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

Reply = TypeVar("Reply", bound=Mapping[str, Any])


class _Body(NamedTuple):
    """An answer's bytes, where in the object they begin, and the whole object's size."""

    data: bytes
    start: int
    total: int


class S3Store:
    """Objects in a bucket, below a prefix."""

    def __init__(
        self,
        address: S3Address,
        *,
        pool_size: int = DEFAULT_POOL,
        create: bool = False,
        insecure: bool = False,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = STANDARD.answer_s,
        page_size: int = PAGE_SIZE,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Make a client with the standard AWS chain's credentials. No request is sent, unless the bucket is to be made.

        Args:
            address: bucket, prefix, and where the server is.
            pool_size: most connections kept open, from 1.
            create: make the bucket if it is not there.
            insecure: allow an endpoint that is neither encrypted nor on loopback.
            connect_timeout_s: longest wait for a connection.
            read_timeout_s: longest wait for the next bytes of an answer, and for a write to be done.
            page_size: most objects listed by one request, 1 to 1,000.
            monotonic_ns: carries the server's time forward.

        Raises:
            BadAddress: the endpoint or region cannot be used.
            StoreDenied, StoreUnavailable: the bucket cannot be made.
        """
        self._address = str(address)
        self._bucket = address.bucket
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self._clock = StoreClock(monotonic_ns=monotonic_ns)
        self._suffix_ranges = True  # until the server shows that it does not know them
        self._closed = False
        self._page_size = page_size
        config = Config(
            max_pool_connections=pool_size,
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
            s3={"addressing_style": "path"} if address.endpoint else {},
        )
        try:
            session = boto3.session.Session(region_name=address.region)
            region = session.region_name or DEFAULT_REGION
            self._client: S3Client = session.client(
                "s3", region_name=region, endpoint_url=address.endpoint, config=config
            )
        except (BotoCoreError, ValueError) as error:  # ValueError: boto3's word for an endpoint that is no URL
            raise translate(error, key="", store=self._address) from error
        check_endpoint(address, self._client.meta.endpoint_url, insecure=insecure)
        endpoint = cast(Any, self._client)._endpoint  # not public, but the only place at which answers can be bounded
        endpoint.http_session = BoundedSession(endpoint.http_session)
        if create:
            self._create_bucket(region)

    @property
    def address(self) -> str:
        """The address in its shortest form."""
        return self._address

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        check_range(key, offset, size)
        if size == 0:
            self.head(key)
            return b""
        if offset == 0 and size is None:
            return self._whole(key).data
        last = "" if size is None else str(offset + size - 1)
        body = self._ranged(key, f"bytes={offset}-{last}")
        if body is None:
            return b""
        end = body.total if size is None else min(body.total, offset + size)
        return self._cut(key, body, offset, max(offset, end))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`.

        One request, but two with a server that does not know ranges counted from the end.
        """
        check_range(key, 0, size)
        if size > 0 and self._suffix_ranges:
            body = self._ranged(key, f"bytes=-{size}")
            if body is None:  # an empty object has no last byte
                return b"", 0
            start = max(0, body.total - size)
            if body.start <= start and body.start + len(body.data) == body.total:
                return self._cut(key, body, start, body.total), body.total
            self._suffix_ranges = False
        total = self.head(key).size
        start = max(0, total - size)
        return (self.get(key, offset=start, size=total - start) if start < total else b""), total

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        name = self._name(key)
        reply: Mapping[str, Any] | None
        if unless is None:
            reply = self._call(key, lambda: self._client.get_object(Bucket=self._bucket, Key=name))
        else:
            reply = self._call_unless(
                _NOT_MODIFIED,
                key,
                lambda: self._client.get_object(Bucket=self._bucket, Key=name, IfNoneMatch=unless),
            )
        if reply is None:
            return None
        try:
            check_fetched(key, reply.get("ContentLength", 0))
        except ObjectCorrupt:
            reply["Body"].close()
            raise
        data = self._read(key, reply)
        etag = self._etag(key, reply)
        return None if etag == unless else Fetched(data, etag)

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        name = self._name(key)
        reply = self._call(key, lambda: self._client.head_object(Bucket=self._bucket, Key=name))
        return ObjectInfo(key, reply["ContentLength"], self._etag(key, reply), _ns(reply["LastModified"]))

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        name, body = self._name(key), _body(data)
        reply = self._call(
            key, lambda: self._client.put_object(Bucket=self._bucket, Key=name, Body=body, ContentMD5=_md5(body))
        )
        return self._etag(key, reply)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`. Sent once."""
        name, body = self._name(key), _body(data)

        def send() -> Mapping[str, Any]:
            if match is None:
                return self._client.put_object(
                    Bucket=self._bucket, Key=name, Body=body, ContentMD5=_md5(body), IfNoneMatch="*"
                )
            return self._client.put_object(
                Bucket=self._bucket, Key=name, Body=body, ContentMD5=_md5(body), IfMatch=match
            )

        return self._etag(key, self._call(key, send, conditional=True))

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        name = self._name(key)
        # Amazon answers 204 for an object that is not there; some others 404, as they do for a bucket that is not.
        self._call_unless(404, key, lambda: self._client.delete_object(Bucket=self._bucket, Key=name))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix, in pages of up to 1,000; see `ObjectStore.list`."""
        check_prefix(prefix)
        self._check_open()
        skip = len(self._prefix)
        selection: dict[str, Any] = {
            "Bucket": self._bucket,
            "Prefix": self._prefix + prefix,
            "MaxKeys": self._page_size,
        }
        # Only up to the last `/`, the rest below: SeaweedFS 4.48, asked for what comes after `b/c`, leaves out `b/c/d`.
        if "/" in after:
            selection["StartAfter"] = f"{self._prefix}{after.rpartition('/')[0]}/"

        def page(token: str | None) -> tuple[list[ObjectInfo], str | None]:
            further: dict[str, Any] = {"ContinuationToken": token} if token else {}
            reply = self._call("", lambda: self._client.list_objects_v2(**selection, **further))
            found = [
                ObjectInfo(held["Key"][skip:], held["Size"], held["ETag"], _ns(held["LastModified"]))
                for held in reply.get("Contents", [])
            ]
            # Checked here as well, for servers that do not know `start-after`.
            chosen = [info for info in found if info.key.startswith(prefix) and info.key > after]
            if not reply.get("IsTruncated"):
                return chosen, None
            next_token = reply.get("NextContinuationToken")
            if not next_token or next_token == token:
                raise StoreUnavailable(self._address, "it broke a listing off without saying how to go on")
            return chosen, next_token

        return PagedListing(page)

    def now_ns(self) -> int:
        """Tell the server's time: the last answers' `Date` carried forward; asks for one if there was none yet."""
        now_ns = self._clock.now_ns()
        if now_ns is None:
            self._call("", lambda: self._client.head_bucket(Bucket=self._bucket))
            now_ns = self._clock.now_ns()
        if now_ns is None:
            raise StoreUnavailable(self._address, "its answers carry no usable Date")
        return now_ns

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        self._client.close()

    # Calls

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(self._address, "it was closed")

    def _name(self, key: str) -> str:
        self._check_open()
        return self._prefix + check_key(key)

    def _call(self, key: str, send: Callable[[], Reply], *, conditional: bool = False) -> Reply:
        try:
            reply = send()
        except _FAILURES as error:
            if isinstance(error, ClientError):
                self._note_date(error.response)
            raise self._translated(error, key, conditional=conditional) from error
        self._note_date(reply)
        return reply

    def _call_unless(self, status: int, key: str, send: Callable[[], Reply]) -> Reply | None:
        """Send one request; `None` when the answer was `status`. A missing bucket is an error, whatever its status."""
        try:
            return self._call(key, send)
        except StoreError as error:
            if status_of(error.__cause__) == status and not isinstance(error, BucketMissing):
                return None
            raise

    def _translated(self, error: Exception, key: str, *, conditional: bool = False) -> StoreError:
        now_ns = self._clock.now_ns() or 0
        return translate(error, key=key, store=self._address, conditional=conditional, now_s=now_ns / 1e9)

    def _note_date(self, reply: Mapping[str, Any]) -> None:
        date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date:
            self._clock.note(date)

    def _etag(self, key: str, reply: Mapping[str, Any]) -> str:
        etag: str | None = reply.get("ETag")
        if not etag:
            raise StoreUnavailable(self._address, f"its answer about {key!r} carries no ETag")
        return etag

    # Bodies

    def _whole(self, key: str) -> _Body:
        name = self._name(key)
        reply = self._call(key, lambda: self._client.get_object(Bucket=self._bucket, Key=name))
        data = self._read(key, reply)
        return _Body(data, 0, len(data))

    def _ranged(self, key: str, wanted: str) -> _Body | None:
        """Ask for a range; `None` when the server says that the object has no byte of it."""
        name = self._name(key)
        reply = self._call_unless(
            _RANGE_EMPTY,
            key,
            lambda: self._client.get_object(Bucket=self._bucket, Key=name, Range=wanted),
        )
        if reply is None:
            return None
        data = self._read(key, reply)
        told = reply.get("ContentRange")
        if told is None:  # the whole object: ranges are ignored, or the object is empty
            return _Body(data, 0, len(data))
        fields = _CONTENT_RANGE.fullmatch(told)
        if fields is None:
            raise StoreUnavailable(self._address, f"it answered {wanted} of {key!r} with {told!r}")
        first, last, total = (int(field) for field in fields.groups())
        if last - first + 1 != len(data) or last >= total:
            raise StoreUnavailable(
                self._address, f"it answered {wanted} of {key!r} with {told!r} and {len(data)} bytes"
            )
        return _Body(data, first, total)

    def _read(self, key: str, reply: Mapping[str, Any]) -> bytes:
        try:
            with reply["Body"] as body:
                data: bytes = body.read()
        except _FAILURES as error:
            raise self._translated(error, key) from error
        announced = reply.get("ContentLength", len(data))
        if len(data) != announced:
            raise StoreUnavailable(self._address, f"{key!r} broke off after {len(data)} of {announced} bytes")
        return data

    def _cut(self, key: str, body: _Body, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end` of the object, which the answer must hold."""
        if body.start == start and len(body.data) == end - start:
            return body.data
        if start >= body.total:
            return b""
        if not body.start <= start <= end <= body.start + len(body.data):
            raise StoreUnavailable(
                self._address,
                f"asked for the bytes {start} to {end} of {key!r}, it sent {len(body.data)} from {body.start}",
            )
        return body.data[start - body.start : end - body.start]

    # The bucket

    def _create_bucket(self, region: str) -> None:
        try:
            self._call("", lambda: self._client.head_bucket(Bucket=self._bucket))
        except BucketMissing:
            pass
        else:
            return

        def make() -> Mapping[str, Any]:
            if region == DEFAULT_REGION:  # which Amazon refuses to be told
                return self._client.create_bucket(Bucket=self._bucket)
            return self._client.create_bucket(
                Bucket=self._bucket,
                CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]  # any text
            )

        # 409: somebody else made it meanwhile; the next call shows whether it may be used.
        self._call_unless(409, "", make)


def _body(data: Buffer) -> bytes:
    """Return what boto3 sends: bytes and bytearrays as they are (its stubs know of bytes alone), a view's copy."""
    return bytes(data) if isinstance(data, memoryview) else cast(bytes, data)


def _md5(body: bytes) -> str:
    """Return the Content-MD5 (RFC 1864), which every server checks; it guards the way there and nothing else."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _ns(moment: "datetime") -> int:
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1000
