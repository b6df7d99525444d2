"""Settings -> the users with passwords, and the policy that the audit log follows: what HTTP and gRPC both log in by.

Called once, before anything is served.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from auth.passwords import Passwords
from auth.policy import Policy
from gateway.access.audit import OK, POLICY, Audit
from gateway.access.policies import STORE, PolicySource
from gateway.access.sharing import shared_throttle
from gateway.access.users import UserFile
from gateway.board import Board
from gateway.config import Settings

if TYPE_CHECKING:
    from gateway.stores import Opened


def open_passwords(settings: Settings, board: Board) -> Passwords | None:
    """Return the users with passwords; `None`: there is no file of them.

    Raises:
        ConfigError: it can't be used.
    """
    if not settings.auth_basic.htpasswd:
        return None
    users = UserFile(Path(settings.auth_basic.htpasswd))
    users.start()
    return Passwords(lambda: users.users, shared_throttle(board))


def open_policies(settings: Settings, opened: "Opened", audit: Audit) -> PolicySource:
    """Return the policy of the moment; the audit log is told when this worker goes by another, whoever put it there.

    Raises:
        ConfigError, StoreError: see `PolicySource`.
    """
    surface = "file" if settings.auth.policy != STORE else "store"

    def note(policy: Policy) -> None:
        audit.note(
            POLICY, OK, principal="gateway", address="", surface=surface, digest=policy.digest,
            rules=len(policy.rules), worker=os.getpid(),
        )  # fmt: skip

    policies = PolicySource(settings, opened.objects, seen=opened.seen)
    policies.on_change(note)
    policies.start()
    return policies
