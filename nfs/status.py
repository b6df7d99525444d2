"""The one table from errors to `nfsstat3`, and from that to `mountstat3` and `nlm4_stats`. Threads: constant.

Every leaf of `store.errors` stands here, though a reading server can meet only a few of them, so that a new error can't
reach clients undecided.
"""

from collections.abc import Mapping
from typing import Final

from nfs.fhandle import BadHandle
from nfs.grants import GrantRefused
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import nfsstat3
from nfs.wire.nlm4 import nlm4_stats
from store import errors

_S: Final = nfsstat3

STATUS: Final[Mapping[type[Exception], nfsstat3]] = {
    BadHandle: _S.NFS3ERR_BADHANDLE,
    GrantRefused: _S.NFS3ERR_ACCES,
    # Missing
    errors.PathMissing: _S.NFS3ERR_NOENT,
    errors.DatasetMissing: _S.NFS3ERR_NOENT,
    errors.TagMissing: _S.NFS3ERR_NOENT,
    errors.NotAFolder: _S.NFS3ERR_NOTDIR,
    errors.StaleNode: _S.NFS3ERR_STALE,
    # Whoever has such a handle was once shown what it names. Linux never reads a stale file again by what has it open.
    errors.HiddenNode: _S.NFS3ERR_ACCES,
    errors.AmbiguousNode: _S.NFS3ERR_BADHANDLE,
    errors.ObjectMissing: _S.NFS3ERR_IO,  # a state names an object that is gone: the state is damaged
    errors.StoreMissing: _S.NFS3ERR_JUKEBOX,  # it was there when the server started: wait for it to come back
    # Conflict: nothing is written here, so none is expected; trying again is the cure
    errors.PreconditionFailed: _S.NFS3ERR_JUKEBOX,
    errors.TagExists: _S.NFS3ERR_EXIST,
    errors.TagMoved: _S.NFS3ERR_JUKEBOX,
    errors.TagNameTaken: _S.NFS3ERR_EXIST,
    errors.Contended: _S.NFS3ERR_JUKEBOX,
    # Corrupt
    errors.ObjectCorrupt: _S.NFS3ERR_IO,
    errors.BlockCorrupt: _S.NFS3ERR_IO,
    errors.Replayed: _S.NFS3ERR_IO,
    # Unavailable: the client waits and asks again, as its user would want
    errors.StoreUnavailable: _S.NFS3ERR_JUKEBOX,
    errors.OutcomeUnknown: _S.NFS3ERR_JUKEBOX,
    errors.PushLost: _S.NFS3ERR_JUKEBOX,
    errors.BucketMissing: _S.NFS3ERR_JUKEBOX,  # as for a store that is not there
    errors.StoreFull: _S.NFS3ERR_JUKEBOX,
    errors.NotWarm: _S.NFS3ERR_JUKEBOX,
    # Refused
    errors.StoreDenied: _S.NFS3ERR_IO,  # the gateway's own credentials: no matter of the client's rights
    errors.FeatureMissing: _S.NFS3ERR_IO,
    errors.ConditionsIgnored: _S.NFS3ERR_ROFS,
    errors.KeyNeeded: _S.NFS3ERR_IO,
    errors.KeyWrong: _S.NFS3ERR_IO,
    errors.NotEncrypted: _S.NFS3ERR_IO,
    errors.StoreSwapped: _S.NFS3ERR_IO,
    errors.TreeReadOnly: _S.NFS3ERR_ROFS,
    # Unusable
    errors.BadName: _S.NFS3ERR_NOENT,
    errors.BadAddress: _S.NFS3ERR_IO,
    errors.SourceUnusable: _S.NFS3ERR_IO,
    errors.SourceChanged: _S.NFS3ERR_IO,
    errors.DestinationForeign: _S.NFS3ERR_IO,
    errors.DestinationUnusable: _S.NFS3ERR_IO,
    errors.IsAFolder: _S.NFS3ERR_ISDIR,
    errors.NotALink: _S.NFS3ERR_INVAL,
}

_MOUNT: Final[Mapping[nfsstat3, mountstat3]] = {
    **{s: mountstat3(s) for s in nfsstat3 if s in set(map(int, mountstat3))},
    _S.NFS3ERR_STALE: mountstat3.MNT3ERR_NOENT,
    _S.NFS3ERR_JUKEBOX: mountstat3.MNT3ERR_SERVERFAULT,  # MOUNT has no "later"; mount.nfs tries again by itself
}

_LOCK: Final[Mapping[nfsstat3, nlm4_stats]] = {
    _S.NFS3ERR_BADHANDLE: nlm4_stats.NLM4_STALE_FH,
    _S.NFS3ERR_STALE: nlm4_stats.NLM4_STALE_FH,
    _S.NFS3ERR_JUKEBOX: nlm4_stats.NLM4_DENIED_GRACE_PERIOD,  # the one refusal after which clients ask again
}


def status_of(error: Exception) -> nfsstat3:
    """Return the status for an error; the nearest class of it that stands in the table decides."""
    for ancestor in type(error).__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return nfsstat3.NFS3ERR_SERVERFAULT


def mount_status_of(status: nfsstat3) -> mountstat3:
    """Return what MOUNT says for a status."""
    return _MOUNT.get(status, mountstat3.MNT3ERR_SERVERFAULT)


def lock_stats_of(error: Exception) -> nlm4_stats:
    """Return what NLM says for an error."""
    return _LOCK.get(status_of(error), nlm4_stats.NLM4_FAILED)
