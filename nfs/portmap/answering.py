"""From a call's bytes to its reply, over TCP and over UDP. Knows RPC's refusals and no socket.

UDP's sender is whoever it says it is, so a reply may go to somebody who never asked. None is longer than `MOST_BYTES`,
and to other machines none is longer than `AMPLIFIED` times its question, as in QUIC (RFC 9000 section 8.1): what would
be is PROC_UNAVAIL, and clients ask again by TCP. GETPORT and GETADDR always fit.

Threads: the register's.
"""

from typing import Final

import structlog

from nfs.portmap.procedures import CALLIT, PROCEDURES
from nfs.portmap.services import Asked, Register
from nfs.wire.errors import AuthRejected, GarbageArgs, NotACall, RpcMismatch
from nfs.wire.portmap import PORTMAP_PROGRAM
from nfs.wire.rpc import (
    Call,
    accept_stat,
    accepted,
    auth_error,
    decode_call,
    prog_mismatch,
    refused,
    rpc_mismatch,
)
from nfs.wire.xdr import Buffer, decode_whole

MOST_BYTES: Final = 1400  # of a reply by UDP: one packet on any network
AMPLIFIED: Final = 3
LARGEST_CALL: Final = 8800  # bytes: what a portmapper takes by UDP (UDPMSGSIZE)
_MARK: Final = 4  # bytes before a record on TCP

_log = structlog.get_logger("aetherfs.portmap")


def answer(record: bytes, register: Register, asked: Asked) -> bytes:
    """Return the marked reply to a record that came by TCP.

    Raises:
        NotACall: the connection has to end.
    """
    try:
        call = decode_call(record)
    except RpcMismatch as error:
        return rpc_mismatch(error.xid)
    except AuthRejected as error:
        return auth_error(error.xid, error.auth_stat)
    return _run(call, record, register, asked)


def answer_datagram(data: bytes, register: Register, asked: Asked) -> bytes | None:
    """Return the reply to what came by UDP, or `None` for silence: to what is no call, and to CALLIT (RFC 1833)."""
    try:
        call = decode_call(data)
        if call.prog == PORTMAP_PROGRAM and call.vers in PROCEDURES and call.proc == CALLIT:
            return None
        reply = _run(call, data, register, asked)
    except NotACall:
        return None
    except RpcMismatch as error:
        reply = rpc_mismatch(error.xid)
    except AuthRejected as error:
        reply = auth_error(error.xid, error.auth_stat)
    else:
        most = MOST_BYTES if asked.this_machine else min(MOST_BYTES, AMPLIFIED * len(data))
        if len(reply) - _MARK > most:
            reply = refused(call.xid, accept_stat.PROC_UNAVAIL)
    return reply[_MARK:]


def _run(call: Call, record: bytes, register: Register, asked: Asked) -> bytes:
    if call.prog != PORTMAP_PROGRAM:
        return refused(call.xid, accept_stat.PROG_UNAVAIL)
    procedures = PROCEDURES.get(call.vers)
    if procedures is None:
        return prog_mismatch(call.xid, min(PROCEDURES), max(PROCEDURES))
    procedure = procedures.get(call.proc)
    if procedure is None:
        return refused(call.xid, accept_stat.PROC_UNAVAIL)
    register.calls[call.vers, call.proc] += 1
    try:
        args = decode_whole(procedure.args, record, call.args_at)
    except GarbageArgs:
        return refused(call.xid, accept_stat.GARBAGE_ARGS)
    out: list[Buffer] = []
    try:
        procedure.result.encode(procedure.handler(args, register, asked), out)
    except Exception:  # the shell for what nobody foresaw: said once, and the peer gets an answer
        _log.exception("call raised the unexpected", procedure=procedure.name, xid=call.xid)
        return refused(call.xid, accept_stat.SYSTEM_ERR)
    return b"".join(accepted(call.xid, out))
