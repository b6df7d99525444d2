"""The lock manager's procedures, NLM version 4 (RFC 1813 appendix II; X/Open XNFS).

Published files never change, so a lock protects nothing, and none is kept: what a reader asks for is granted, and what
only a writer has use for is refused as on a read-only file system (NLM4_ROFS). Nobody ever waits, so there is nothing
to cancel and nobody to call back; a restart loses no lock, so clients have nothing to reclaim, but may. The
asynchronous procedures (TEST_MSG to GRANTED_RES, 6 to 15) are not served: their answers would have to go to a port that
the call names, so that anybody could have the server call anybody.

Each answer carries the call's cookie, so failures are told here and not by the table. Threads: pure over their view.
"""

from typing import Final

from nfs.fhandle import BadHandle
from nfs.grants import GrantRefused
from nfs.status import lock_stats_of
from nfs.view import View
from nfs.wire.nlm4 import (
    fsh4_access,
    fsh4_mode,
    nlm4_cancargs,
    nlm4_lock,
    nlm4_lockargs,
    nlm4_notify,
    nlm4_res,
    nlm4_shareargs,
    nlm4_shareres,
    nlm4_stats,
    nlm4_testargs,
    nlm4_testres,
    nlm4_unlockargs,
)
from store.errors import NotWarm, StoreError
from store.vfs.tree import Kind

GRANTED: Final = nlm4_stats.NLM4_GRANTED
_END: Final = 1 << 64  # just past the last byte that NFSv3 can name


def test4(args: nlm4_testargs, view: View) -> nlm4_testres:
    """Tell that a lock could be had, for an exclusive one too.

    The question is whether somebody holds a lock that stands in the way, and nobody does. SQLite asks it (F_GETLK for
    writing) of a database that has a journal beside it: refused, it would take the journal's writer for alive, or fail.
    """
    return nlm4_testres(args.cookie, _obstacle(args.alock, view) or GRANTED)


def lock4(args: nlm4_lockargs, view: View) -> nlm4_res:
    """Grant a shared lock, refuse an exclusive one; the same for NM_LOCK, which asks that nobody watch the client."""
    obstacle = _obstacle(args.alock, view)
    if obstacle is None and args.exclusive:
        obstacle = nlm4_stats.NLM4_ROFS
    return nlm4_res(args.cookie, obstacle or GRANTED)


def unlock4(args: nlm4_unlockargs | nlm4_cancargs, view: View) -> nlm4_res:
    """Answer UNLOCK and CANCEL: done, for nothing was kept; a handle that names nothing is told as that."""
    stale = _about_handle(args.alock.fh, view) is nlm4_stats.NLM4_STALE_FH
    return nlm4_res(args.cookie, nlm4_stats.NLM4_STALE_FH if stale else GRANTED)


def granted4(args: nlm4_testargs, _view: View) -> nlm4_res:
    """Answer who says that a lock is ours now: this server waits for none."""
    return nlm4_res(args.cookie, nlm4_stats.NLM4_DENIED)


def share4(args: nlm4_shareargs, view: View) -> nlm4_shareres:
    """Grant reading that denies others nothing, or the writing that nobody can do anyway; refuse the rest."""
    share = args.share
    obstacle = _about_handle(share.fh, view)
    if obstacle is None and (share.access & fsh4_access.fsa_W or share.mode & fsh4_mode.fsm_DR):
        obstacle = nlm4_stats.NLM4_ROFS
    return nlm4_shareres(args.cookie, obstacle or GRANTED, 0)


def unshare4(args: nlm4_shareargs, view: View) -> nlm4_shareres:
    stale = _about_handle(args.share.fh, view) is nlm4_stats.NLM4_STALE_FH
    return nlm4_shareres(args.cookie, nlm4_stats.NLM4_STALE_FH if stale else GRANTED, 0)


def free_all(_args: nlm4_notify, _view: View) -> None:
    """Forget the locks of a client that has restarted: there are none."""


def _obstacle(lock: nlm4_lock, view: View) -> nlm4_stats | None:
    """Return why a range of a file can't be locked at all."""
    about_handle = _about_handle(lock.fh, view)
    if about_handle is None and lock.l_offset + lock.l_len > _END:
        return nlm4_stats.NLM4_FBIG
    return about_handle


def _about_handle(fh: bytes, view: View) -> nlm4_stats | None:
    """Return what is wrong with a handle; only files can be locked.

    Raises:
        NotWarm: the view answers from memory alone, and memory does not suffice.
    """
    try:
        node = view.node(fh)
    except NotWarm:
        raise
    except (StoreError, BadHandle, GrantRefused) as error:
        return lock_stats_of(error)
    return None if node.kind is Kind.FILE else nlm4_stats.NLM4_FAILED
