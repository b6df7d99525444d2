"""ONC RPC version 2 (RFC 5531): call headers, credentials, replies.

    call:   xid, CALL, 2, prog, vers, proc, cred, verf, arguments
    reply:  xid, REPLY, MSG_ACCEPTED, verf, accept_stat, results    or    xid, REPLY, MSG_DENIED, reject_stat, ...

Threads: pure functions. No I/O.
"""

import enum
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from nfs.wire.errors import AuthRejected, GarbageArgs, NotACall, RpcMismatch
from nfs.wire.record import LAST_FRAGMENT
from nfs.wire.xdr import Array, Buffer, Opaque, Structure, decode_whole, uint32

RPC_VERSION: Final = 2
CALL: Final = 0
REPLY: Final = 1
AUTH_NONE: Final = 0
AUTH_UNIX: Final = 1
AUTH_TLS: Final = 7  # RFC 9289 section 4.1: no credential, but the question whether TLS is spoken
MAX_AUTH_BYTES: Final = 400  # RFC 5531 section 8.2
HEADER_BYTES: Final = 24  # xid to proc


class accept_stat(enum.IntEnum):
    """How an accepted call went."""

    SUCCESS = 0
    PROG_UNAVAIL = 1
    PROG_MISMATCH = 2
    PROC_UNAVAIL = 3
    GARBAGE_ARGS = 4
    SYSTEM_ERR = 5


class auth_stat(enum.IntEnum):
    """Why a credential was not accepted."""

    AUTH_BADCRED = 1
    AUTH_REJECTEDCRED = 2
    AUTH_BADVERF = 3
    AUTH_REJECTEDVERF = 4
    AUTH_TOOWEAK = 5


class authsys_parms(NamedTuple):
    """What AUTH_UNIX says of the caller (RFC 5531 appendix A). Not proof of anything."""

    stamp: int
    machinename: bytes
    uid: int
    gid: int
    gids: Sequence[int]


class Call(NamedTuple):
    """A call's header."""

    xid: int
    prog: int
    vers: int
    proc: int
    authsys: authsys_parms | None  # None: another flavour
    args_at: int  # offset of the arguments in the record
    flavor: int  # of the credential: AUTH_NONE, AUTH_UNIX, AUTH_TLS


AUTHSYS_PARMS: Final = Structure(authsys_parms, uint32, Opaque(255), uint32, uint32, Array(uint32, 16))
_HEADER: Final = struct.Struct(">8I")
_PAIR: Final = struct.Struct(">II")
_ACCEPTED: Final = struct.Struct(">5I")  # REPLY, MSG_ACCEPTED, AUTH_NONE, 0, accept_stat
ACCEPTED_SUCCESS: Final = _ACCEPTED.pack(REPLY, 0, AUTH_NONE, 0, accept_stat.SUCCESS)
_STARTTLS: Final = struct.pack(">4I8sI", REPLY, 0, AUTH_NONE, 8, b"STARTTLS", accept_stat.SUCCESS)


def decode_call(record: bytes) -> Call:
    """Read a call's header.

    Raises:
        NotACall: too short for a header, or a reply.  RpcMismatch.  AuthRejected.
    """
    if len(record) < _HEADER.size + _PAIR.size:
        raise NotACall(f"record of {len(record)} bytes is too short for a call")
    xid, message_type, rpc_version, prog, vers, proc, flavor, cred_length = _HEADER.unpack_from(record)
    if message_type != CALL:
        raise NotACall(f"message {xid:#x} has type {message_type}, not CALL")
    if rpc_version != RPC_VERSION:
        raise RpcMismatch(xid, rpc_version)
    cred_end = _HEADER.size + cred_length + -cred_length % 4
    if cred_length > MAX_AUTH_BYTES or cred_end + _PAIR.size > len(record):
        raise AuthRejected(xid, auth_stat.AUTH_BADCRED, f"credential of {cred_length} bytes")
    verf_flavor, verf_length = _PAIR.unpack_from(record, cred_end)
    args_at = cred_end + _PAIR.size + verf_length + -verf_length % 4
    if verf_length > MAX_AUTH_BYTES or args_at > len(record):
        raise AuthRejected(xid, auth_stat.AUTH_BADVERF, f"verifier of {verf_length} bytes")
    authsys = None
    if flavor == AUTH_UNIX:
        try:
            authsys = decode_whole(AUTHSYS_PARMS, record[: _HEADER.size + cred_length], _HEADER.size)
        except GarbageArgs as error:
            raise AuthRejected(xid, auth_stat.AUTH_BADCRED, str(error)) from error
    elif flavor == AUTH_TLS:
        if cred_length:
            raise AuthRejected(xid, auth_stat.AUTH_BADCRED, f"AUTH_TLS with {cred_length} bytes")
        if verf_flavor != AUTH_NONE or verf_length:
            raise AuthRejected(xid, auth_stat.AUTH_BADVERF, "AUTH_TLS with a verifier")
    elif flavor != AUTH_NONE:
        raise AuthRejected(xid, auth_stat.AUTH_BADCRED, f"flavour {flavor} is not served")
    return Call(xid, prog, vers, proc, authsys, args_at, flavor)


def accepted(xid: int, parts: Sequence[Buffer]) -> list[Buffer]:
    """Return the marked reply of a call that went well; large parts stay the views they are."""
    length = 4 + len(ACCEPTED_SUCCESS) + sum(map(len, parts))
    return [_PAIR.pack(LAST_FRAGMENT | length, xid) + ACCEPTED_SUCCESS, *parts]


def refused(xid: int, stat: accept_stat) -> bytes:
    """Return the marked reply of a call that was accepted and could not be run."""
    return _marked(xid, _ACCEPTED.pack(REPLY, 0, AUTH_NONE, 0, stat))


def prog_mismatch(xid: int, low: int, high: int) -> bytes:
    """Return the marked reply naming the versions served: what makes a client of NFSv4 fall back."""
    return _marked(xid, _ACCEPTED.pack(REPLY, 0, AUTH_NONE, 0, accept_stat.PROG_MISMATCH) + _PAIR.pack(low, high))


def rpc_mismatch(xid: int) -> bytes:
    """Return the marked denial of another version of RPC."""
    return _marked(xid, struct.pack(">5I", REPLY, 1, 0, RPC_VERSION, RPC_VERSION))


def starttls(xid: int) -> bytes:
    """Return the marked reply to a probe: the client is to begin the TLS handshake (RFC 9289 section 4.1)."""
    return _marked(xid, _STARTTLS)


def auth_error(xid: int, stat: int) -> bytes:
    """Return the marked denial of a credential."""
    return _marked(xid, struct.pack(">4I", REPLY, 1, 1, stat))


def _marked(xid: int, rest: bytes) -> bytes:
    return _PAIR.pack(LAST_FRAGMENT | 4 + len(rest), xid) + rest


def encode_call(
    xid: int, prog: int, vers: int, proc: int, args: bytes = b"", authsys: authsys_parms | None = None
) -> bytes:
    """Return a call as a record without its mark: what a client sends."""
    flavor, cred = AUTH_NONE, b""
    if authsys is not None:
        out: list[Buffer] = []
        AUTHSYS_PARMS.encode(authsys, out)
        flavor, cred = AUTH_UNIX, b"".join(out)
    head = _HEADER.pack(xid, CALL, RPC_VERSION, prog, vers, proc, flavor, len(cred))
    return head + cred + _PAIR.pack(AUTH_NONE, 0) + args
