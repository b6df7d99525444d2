"""What one connection may see at the moment, found out once for many calls.

What was found good counts until the policy changes, and for `CHECKED_S` at most; then it is asked for again. So a warm
call costs one look into a dictionary. Replies are remembered by export (`nfs.export`) for as long as the policy stays.

Threads: `refresh` and `secure` are called by the connection's own thread; `now` may be asked for what it shows by any.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

from nfs.export import Export
from nfs.fhandle import NO_GRANT
from nfs.grants import Admitted, GrantRefused, Grants, Peer, Share
from store.errors import NotWarm

CHECKED_S: Final = 1.0
MOST_SHARES: Final = 64  # of one connection: a client has one for each token that it mounts by
MOST_EXPORTS: Final = 16  # ways of showing everything, beside the first: owners, certificates


class Exports:
    """The exports of one server, by how they show everything: those of one owner are shared by all connections."""

    def __init__(self, first: Export) -> None:
        """Begin with one."""
        self.first = first
        self._others: OrderedDict[tuple[int, int, str], Export] = OrderedDict()
        self._lock = Lock()

    def of(self, admitted: Admitted) -> Export:
        """Return the export that a peer is shown."""
        key = admitted.uid, admitted.gid, admitted.who
        if key == (*self.first.owner, ""):
            return self.first
        with self._lock:
            export = self._others.get(key)
            if export is None:
                export = self._others[key] = self.first.shown_to(admitted.uid, admitted.gid)
                if len(self._others) > MOST_EXPORTS:
                    self._others.popitem(last=False)
            self._others.move_to_end(key)
            return export


class Shown:
    """What a connection may see at a time: the export, and the shares that may be shown in it, belong together.

    A call holds to one, however long it waits: what it then remembers is what its export's peers may see, though the
    connection has become somebody else's meanwhile, by a certificate or by what is said of it.
    """

    def __init__(self, grants: Grants, peer: Peer, export: Export, own: Share | None) -> None:
        """Take what the peer sees by itself."""
        self._grants, self._peer, self.export, self.own = grants, peer, export, own
        self.shares: dict[bytes, Share] = {own.grant: own} if own is not None else {}  # found good lately, by grant

    def share(self, grant: bytes, *, warm: bool) -> Share:
        """Return the share of a grant.

        Args:
            grant: of a handle that was found right.
            warm: answer from memory.

        Raises:
            GrantRefused: it is not for this peer, or not any more.
            NotWarm: memory does not know.
            Unavailable: only without `warm`.
        """
        share = self.shares.get(grant)
        if share is not None:
            return share
        if self.own is None and grant == NO_GRANT:
            self.root()
        found = self._grants.known(grant, self._peer)
        if found is None and warm:
            raise NotWarm
        found = found if found is not None else self._grants.granted(grant, self._peer)
        if len(self.shares) < MOST_SHARES:
            self.shares[grant] = found
        return found

    def root(self) -> Share:
        """Return what the peer sees by itself.

        Raises:
            GrantRefused: nothing.
        """
        if self.own is None:
            self._grants.refused(self._peer)
            raise GrantRefused(f"no rule lets {self._peer.address} see anything")
        return self.own

    def mounted(self, share: Share, path: bytes) -> None:
        """Take note of a mount."""
        self._grants.mounted(self._peer, share, path)

    def by_token(self, token: str) -> Share:
        """Return the share of a token; may block.

        Raises:
            GrantRefused, Unavailable: as `Grants.by_token`.
        """
        return self._grants.by_token(token, self._peer)


class Access:
    """What one connection may see."""

    def __init__(self, grants: Grants, exports: Exports, peer: Peer) -> None:
        """Begin with nothing; call `refresh` before the first call is answered."""
        self._grants, self._exports, self.peer = grants, exports, peer
        self._generation: object = None
        self._until_s = float("-inf")
        self.now = Shown(grants, peer, exports.first, None)

    @property
    def host(self) -> bytes:
        """The peer's address, as DUMP shows it."""
        return self.peer.address.encode()

    def refresh(self, now_s: float) -> None:
        """Ask again what was found out too long ago, or under another policy.

        Args:
            now_s: monotonic.
        """
        generation = self._grants.generation()
        if now_s < self._until_s and generation == self._generation:
            return
        admitted = self._grants.admitted(self.peer)
        export = self._exports.of(admitted)
        export.renew(generation)
        self.now = Shown(self._grants, self.peer, export, admitted.share)
        self._generation, self._until_s = generation, now_s + CHECKED_S

    def secure(self, certificate: bytes) -> None:
        """Take note that the connection went over to TLS, and whose certificate was shown; what was known is void."""
        self.peer = self.peer._replace(secured=True, certificate=certificate)
        self._until_s = float("-inf")
