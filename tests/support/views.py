"""What calls of NFS see where everybody may see everything."""

from nfs.access import Shown
from nfs.export import Export
from nfs.grants import OpenGrants, Peer, Share


def shown_to_all(export: Export) -> Shown:
    """Return what an export shows to whoever asks."""
    return Shown(OpenGrants(export.tree), Peer("host"), export, Share(export.tree))
