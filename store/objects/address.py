"""Store addresses: text a person gives -> a checked value -> an open object store.

    /some/folder   some/folder   file:///some/folder
    s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1

No address holds a secret: S3 credentials come from the standard AWS chain, and an address with some is refused (without
being repeated in the message). Threads: pure functions; opening blocks only where a bucket is to be made.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from store.errors import BadAddress, BadName
from store.objects.base import ObjectStore
from store.objects.keys import check_key
from store.objects.local import FolderStore
from store.objects.retry import STANDARD

DEFAULT_POOL: Final = 32  # connections kept to one S3 server
MAX_PREFIX: Final = 120  # with a key's 900 characters, under S3's 1,024
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PARAMETERS: Final = ("endpoint", "region")


@dataclass(frozen=True)
class FolderAddress:
    """A folder on this machine."""

    path: Path  # absolute

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class S3Address:
    """A bucket, or the keys of a bucket below a prefix."""

    bucket: str
    prefix: str = ""  # without `/` at either end
    endpoint: str | None = None  # http:// or https:// and host; `None`: what the AWS configuration says
    region: str | None = None  # `None`: what the AWS configuration says

    def __str__(self) -> str:
        asked = [(name, value) for name, value in (("endpoint", self.endpoint), ("region", self.region)) if value]
        query = f"?{urlencode(asked, safe=':/[]')}" if asked else ""
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{quote(self.prefix)}{query}"


Address = FolderAddress | S3Address


def parse_address(text: str) -> Address:
    """Read an address as a person writes it; a folder's path is made absolute.

    Raises:
        BadAddress: it cannot be used, and why.
    """
    if not text.strip() or "\0" in text:
        raise BadAddress(text, "give a folder, or s3://BUCKET/PREFIX")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    if scheme is None or (scheme[1].lower() not in ("s3", "file") and "://" not in text):
        return FolderAddress(Path(text).absolute())
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise BadAddress(_without_secrets(text), str(error)) from None
    if parts.username is not None or parts.password is not None:
        raise BadAddress(
            _without_secrets(text), "credentials do not belong in an address; they come from the AWS configuration"
        )
    match parts.scheme:
        case "file":
            return _folder(text, parts)
        case "s3":
            return _bucket(text, parts)
        case other:
            raise BadAddress(text, f"{other}:// is no kind of store; give a folder, or s3://BUCKET/PREFIX")


def open_objects(
    address: Address | str, *, create: bool = False, insecure_store: bool = False, pool_size: int = DEFAULT_POOL,
    answer_s: float = STANDARD.answer_s,
) -> ObjectStore:  # fmt: skip
    """Open the objects that an address stands for; no wrapper is put around them.

    Args:
        address: parsed, or as a person writes it.
        create: make the folder or the bucket if it is not there.
        insecure_store: allow an http:// endpoint on another machine.
        pool_size: most connections kept open to an S3 server, from 1.
        answer_s: longest wait for the next bytes of an S3 server's answer.

    Raises:
        BadAddress: it cannot be used.
        StoreMissing: a folder that is not there. A bucket's absence shows at the first call.
        StoreDenied, StoreUnavailable: it cannot be made.
    """
    parsed = parse_address(address) if isinstance(address, str) else address
    if isinstance(parsed, FolderAddress):
        return FolderStore(parsed.path, create=create)
    from store.objects.s3 import S3Store  # boto3 takes a quarter of a second to import: only who needs it waits

    return S3Store(parsed, pool_size=pool_size, create=create, insecure=insecure_store, read_timeout_s=answer_s)


def check_endpoint(address: S3Address, endpoint: str, *, insecure: bool) -> None:
    """Accept the endpoint that is really going to be used, wherever it was configured.

    Raises:
        BadAddress: it is not encrypted, not on loopback, and `insecure` does not allow that.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and not insecure and not _is_loopback(parts.hostname or ""):
        raise BadAddress(
            str(address), f"{endpoint} would carry the data unencrypted; use https://, or --insecure-store if you must"
        )


def _folder(text: str, parts: SplitResult) -> FolderAddress:
    if parts.netloc not in ("", "localhost"):
        raise BadAddress(text, f"a folder on this machine has three slashes: file:///{parts.netloc}{parts.path}")
    if not parts.path.startswith("/") or parts.query or parts.fragment:
        raise BadAddress(text, "give file:///FOLDER, with `?` and `#` in it spelt %3F and %23")
    path = unquote(parts.path)
    if "\0" in path:
        raise BadAddress(text, "a folder's name has no NUL")
    return FolderAddress(Path(path).absolute())


def _bucket(text: str, parts: SplitResult) -> S3Address:
    if not _BUCKET.fullmatch(parts.netloc):
        raise BadAddress(text, "give s3://BUCKET/PREFIX; a bucket has 2 or more letters, digits, dots or dashes")
    if parts.fragment:
        raise BadAddress(text, "`#` has no meaning in an address")
    prefix = unquote(parts.path).strip("/")
    try:
        if prefix:
            check_key(prefix)
    except BadName as error:
        raise BadAddress(text, f"the prefix: {error.why}") from None
    if len(prefix) > MAX_PREFIX:
        raise BadAddress(text, f"the prefix has {len(prefix)} characters; the most is {MAX_PREFIX}")
    given: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise BadAddress(_without_query(text), f"unknown parameter {name!r}; there are {' and '.join(_PARAMETERS)}")
        if name in given or not value:
            raise BadAddress(text, f"{name} is given {'twice' if name in given else 'no value'}")
        given[name] = value
    endpoint = given.get("endpoint")
    return S3Address(parts.netloc, prefix, _endpoint(text, endpoint) if endpoint else None, given.get("region"))


def _endpoint(text: str, endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        usable = False
    if not usable or parts.query or parts.fragment:
        raise BadAddress(_without_query(text), "the endpoint is http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise BadAddress(_without_query(text), "credentials do not belong in an endpoint")
    return endpoint.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _without_secrets(text: str) -> str:
    scheme, _, rest = _without_query(text).partition("://")
    return f"{scheme}://...@{rest.rpartition('@')[2]}"


def _without_query(text: str) -> str:
    return text.partition("?")[0]
