"""From a call's record to its reply, by the table. Knows RPC's refusals and no socket.

Threads: pure over the view; `NotWarm` passes through, so that the caller can try again where blocking is allowed.
"""

from typing import NamedTuple

import structlog

from nfs.fhandle import BadHandle
from nfs.status import status_of
from nfs.table import PROGRAMS, Procedure
from nfs.view import View
from nfs.wire.errors import AuthRejected, GarbageArgs, RpcMismatch
from nfs.wire.nfs3types import nfsstat3
from nfs.wire.rpc import Call, accept_stat, auth_error, decode_call, prog_mismatch, refused, rpc_mismatch
from nfs.wire.xdr import Buffer, decode_whole
from store.errors import NotWarm, StoreError

_log = structlog.get_logger("aetherfs.nfs")


class Runnable(NamedTuple):
    """A call whose procedure is known."""

    call: Call
    procedure: Procedure


def parse(record: bytes) -> Runnable | bytes:
    """Return what a record asks for, or the marked reply that refuses it.

    Raises:
        NotACall: the connection has to end.
    """
    try:
        call = decode_call(record)
    except RpcMismatch as error:
        return rpc_mismatch(error.xid)
    except AuthRejected as error:
        return auth_error(error.xid, error.auth_stat)
    program = PROGRAMS.get(call.prog)
    if program is None:
        return refused(call.xid, accept_stat.PROG_UNAVAIL)
    if call.vers != program.version:
        return prog_mismatch(call.xid, program.version, program.version)
    procedure = program.procedures.get(call.proc)
    if procedure is None:
        return refused(call.xid, accept_stat.PROC_UNAVAIL)
    return Runnable(call, procedure)


def run(record: bytes, runnable: Runnable, view: View) -> list[Buffer] | accept_stat:
    """Run a call; return its results' parts, or why RPC has none.

    Raises:
        NotWarm: the view answers from memory alone, and memory does not suffice.
    """
    call, procedure = runnable
    try:
        args = decode_whole(procedure.args, record, call.args_at)
    except GarbageArgs:
        return accept_stat.GARBAGE_ARGS
    out: list[Buffer] = []
    try:
        procedure.result.encode(procedure.handler(args, view), out)
    except NotWarm:
        raise
    except (StoreError, BadHandle) as error:
        return _failed(call, procedure, status_of(error), view, str(error))
    except Exception:  # the shell for what nobody foresaw: said once, and the peer gets an answer
        _log.exception("call raised the unexpected", procedure=procedure.name, xid=call.xid)
        return _failed(call, procedure, nfsstat3.NFS3ERR_SERVERFAULT, view, "")
    return out


def run_blocking(record: bytes, runnable: Runnable, view: View) -> list[Buffer] | accept_stat:
    """Run a call on a view that may block."""
    try:
        return run(record, runnable, view)
    except NotWarm as error:  # a tree that says so even when it may block: the client is to come again
        return _failed(*runnable, status_of(error), view, str(error))


_WORTH_SAYING = frozenset({nfsstat3.NFS3ERR_IO, nfsstat3.NFS3ERR_JUKEBOX})


def _failed(call: Call, procedure: Procedure, status: nfsstat3, view: View, why: str) -> list[Buffer] | accept_stat:
    view.lasting = False
    if status in _WORTH_SAYING:
        _log.warning("call failed", procedure=procedure.name, xid=call.xid, status=status.name, error=why)
    if procedure.failure is None:
        return accept_stat.SYSTEM_ERR
    out: list[Buffer] = []
    procedure.result.encode(procedure.failure(status), out)
    return out
