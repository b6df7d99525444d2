"""The one table from errors to exit codes: what scripts may rely on.

0 done; 1 anything else; 2 wrong usage; 3 not found; 4 refused; 5 conflict; 6 corrupt data; 7 the store, or a place to
write to, cannot be used. docs/decisions/0006-exit-codes.md says why.

A leaf of `store.errors` or `gateway.errors` that is not listed here fails a test. Threads: constant.
"""

from collections.abc import Mapping
from typing import Final

from gateway import errors as gateway
from gateway.config import ConfigError
from store import errors

DONE: Final = 0
OTHER: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
REFUSED: Final = 4
CONFLICT: Final = 5
CORRUPT: Final = 6
UNREACHABLE: Final = 7
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count

EXIT_CODES: Final[Mapping[type[Exception], int]] = {
    ConfigError: USAGE,
    errors.StoreMissing: NOT_FOUND,
    errors.DatasetMissing: NOT_FOUND,
    errors.TagMissing: NOT_FOUND,
    errors.PathMissing: NOT_FOUND,
    errors.NotAFolder: NOT_FOUND,
    errors.StaleNode: NOT_FOUND,
    errors.HiddenNode: NOT_FOUND,
    errors.AmbiguousNode: NOT_FOUND,
    errors.PreconditionFailed: CONFLICT,
    errors.TagExists: CONFLICT,
    errors.TagMoved: CONFLICT,
    errors.TagNameTaken: CONFLICT,
    errors.Contended: CONFLICT,
    errors.ObjectMissing: CORRUPT,  # not what the user named, but what the store's own records name
    errors.ObjectCorrupt: CORRUPT,
    errors.BlockCorrupt: CORRUPT,
    errors.Replayed: CORRUPT,
    errors.StoreUnavailable: UNREACHABLE,
    errors.OutcomeUnknown: UNREACHABLE,
    errors.BucketMissing: UNREACHABLE,
    errors.PushLost: UNREACHABLE,  # as after a lost connection: the same command again is the cure
    errors.StoreFull: UNREACHABLE,
    errors.NotWarm: UNREACHABLE,
    errors.StoreDenied: UNREACHABLE,  # by the bucket or the disk; 4 is what our own rules and a gateway's policy say
    errors.FeatureMissing: REFUSED,
    errors.ConditionsIgnored: REFUSED,
    errors.KeyNeeded: REFUSED,
    errors.KeyWrong: REFUSED,
    errors.NotEncrypted: REFUSED,
    errors.StoreSwapped: REFUSED,
    errors.TreeReadOnly: REFUSED,
    errors.BadName: USAGE,
    errors.BadAddress: USAGE,
    errors.SourceUnusable: REFUSED,  # the command was right; what it found cannot be published
    errors.SourceChanged: OTHER,
    errors.DestinationForeign: REFUSED,  # the command was right; obeying would destroy files
    errors.DestinationUnusable: OTHER,  # a file system's no, or another pull at the same folder
    errors.IsAFolder: USAGE,
    errors.NotALink: USAGE,
    gateway.TokenMissing: NOT_FOUND,
    gateway.TokenTaken: CONFLICT,
    gateway.CertificateTaken: CONFLICT,
    gateway.UserMissing: NOT_FOUND,
    gateway.UserTaken: CONFLICT,
    gateway.PolicyMissing: NOT_FOUND,
    gateway.PolicyMoved: CONFLICT,
    gateway.ServerRefused: REFUSED,
    gateway.LoginWanted: REFUSED,
    gateway.ServerMissing: NOT_FOUND,
    gateway.ServerConflict: CONFLICT,
    gateway.ServerUnusable: USAGE,
    gateway.ServerUnreachable: UNREACHABLE,
    gateway.ServerFailed: OTHER,
}


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error; `OTHER` for one that the table does not list."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), OTHER)
