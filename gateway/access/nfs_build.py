"""Settings and an open store -> who sees what by NFS, for a worker. Called once, before anything is served."""

from typing import TYPE_CHECKING, Final

from blake3 import blake3

from gateway.access.audit import open_audit
from gateway.access.certificates import Certificates
from gateway.access.nfs_grants import NfsGrants
from gateway.access.policies import PolicySource
from gateway.access.sharing import shared_throttle, shared_tokens
from gateway.access.trees import Everything, Trees
from gateway.board import Board
from gateway.config import OFF, Settings
from gateway.export_rules import EVERYWHERE, ExportRule

if TYPE_CHECKING:
    from gateway.app import Built

_KEY_CONTEXT: Final = "aetherfs 2026 NFS grants of rules"


def build_grants(settings: Settings, built: "Built", board: Board, *, insecure: bool) -> NfsGrants:
    """Build what an NFS server asks.

    Args:
        settings: of the gateway.
        built: its store.
        board: of its workers.
        insecure: `--insecure` was given: tokens may cross a network in the clear; and where there is neither login nor
            a rule, everybody who gets through to the port sees everything, as whoever gave it was told.

    Raises:
        ConfigError: a file that settings name can't be used.
        StoreError: the policy lies in the bucket, which does not say.
    """
    opened = built.opened
    policies = PolicySource(settings, opened.objects, seen=opened.seen)
    policies.start()
    rules = settings.nfs.export
    if not rules and insecure and not settings.login:
        rules = (ExportRule((EVERYWHERE,)),)
    vouched = settings.nfs.tls != OFF and settings.nfs.client_ca
    return NfsGrants(
        rules,
        Trees(built.tree, policies) if settings.login else Everything(built.tree),
        generation=lambda: policies.generation,
        key=blake3(built.handle_key, derive_key_context=_KEY_CONTEXT).digest(),
        tokens=shared_tokens(opened.objects, board),
        certificates=Certificates(settings.auth.certificates) if vouched else None,
        throttle=shared_throttle(board),
        audit=open_audit(settings),
        insecure=insecure,
    )
