"""From a call's record to its reply, by the table. Knows RPC's refusals and no socket.

Threads: pure over the view; `NotWarm` passes through, so that the caller can try again where blocking is allowed.
"""

from typing import Final, NamedTuple

import structlog

from nfs.fhandle import BadHandle
from nfs.grants import GrantRefused
from nfs.seldom import Seldom
from nfs.status import status_of
from nfs.table import PROGRAMS, Procedure
from nfs.view import LateView, View
from nfs.wire.errors import AuthRejected, GarbageArgs, RpcMismatch
from nfs.wire.nfs3types import nfsstat3
from nfs.wire.rpc import Call, accept_stat, auth_error, decode_call, prog_mismatch, refused, rpc_mismatch
from nfs.wire.xdr import Buffer, decode_whole
from store.errors import NotWarm, StoreError

_log = structlog.get_logger("aetherfs.nfs")
AT_ONCE: Final = 20  # failures that are said one by one; a store that is away would make thousands a second
EVERY_S: Final = 10.0
_unforeseen: Final = Seldom(AT_ONCE, EVERY_S)


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
    except (StoreError, BadHandle, GrantRefused) as error:
        view.lasting = False
        return _failed(runnable, status_of(error), str(error))
    except Exception:  # the shell for what nobody foresaw: said here alone, and the peer gets an answer
        view.lasting = False
        if (unsaid := _unforeseen.ask()) is not None:
            _log.exception("call raised the unexpected", procedure=procedure.name, xid=call.xid, unsaid_before=unsaid)
        return _failed(runnable, nfsstat3.NFS3ERR_SERVERFAULT, "")
    return out


def run_blocking(record: bytes, runnable: Runnable, view: View) -> list[Buffer] | accept_stat:
    """Run a call on a view that may block."""
    try:
        return run(record, runnable, view)
    except NotWarm as error:  # a tree that says so even when it may block: the client is to come again
        view.lasting = False
        return _failed(runnable, status_of(error), str(error))


def give_up(record: bytes, runnable: Runnable, view: LateView) -> list[Buffer] | accept_stat:
    """Return the results of a call that takes too long: they tell the client to come again."""
    try:
        return run(record, runnable, view)
    except NotWarm:
        return _failed(runnable, nfsstat3.NFS3ERR_JUKEBOX, "the store takes too long")


_WORTH_SAYING: Final = frozenset({nfsstat3.NFS3ERR_IO, nfsstat3.NFS3ERR_JUKEBOX})
_seldom: Final = Seldom(AT_ONCE, EVERY_S)


def _failed(runnable: Runnable, status: nfsstat3, why: str) -> list[Buffer] | accept_stat:
    call, procedure = runnable
    if status in _WORTH_SAYING and (unsaid := _seldom.ask()) is not None:
        _log.warning(
            "call failed", procedure=procedure.name, xid=call.xid, status=status.name, error=why, unsaid_before=unsaid
        )
    if procedure.failure is None:
        return accept_stat.SYSTEM_ERR
    out: list[Buffer] = []
    procedure.result.encode(procedure.failure(status), out)
    return out
