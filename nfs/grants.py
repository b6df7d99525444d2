"""Who sees what: the one question that this server asks of others, since it knows no users, tokens or policies.

A peer is known by its address, and by its certificate where it has shown one. It has a share of its own, or none; a
token in the path of a mount gives another one. A share has a tree and a grant: 8 bytes that stand in every handle that
is given out of it, and by which it is found again on any gateway of the store. A handle of one grant is of no use where
another is due.

What is answered from memory may be asked on threads that own connections. Any thread may ask.
"""

from typing import Final, NamedTuple, Protocol

from nfs.fhandle import NO_GRANT
from nfs.wire.errors import WireError
from store.vfs.tree import FileTree


class GrantRefused(WireError):
    """A peer may not see what it asks for: no rule lets it in, or its token is no longer good. Holds no secret."""


class Peer(NamedTuple):
    """Who is at the other end of a connection."""

    address: str  # as text; "local": of a local socket, which has none
    secured: bool = False  # by TLS
    certificate: bytes = b""  # DER, verified; empty: it has shown none


class Share(NamedTuple):
    """What somebody sees."""

    tree: FileTree
    grant: bytes = NO_GRANT  # 8 bytes
    name: str = ""  # of the token, as lists and logs have it; never a secret
    label: str = ""  # who sees it, for who keeps a record


class Admitted(NamedTuple):
    """What a peer sees by itself, and how everything is shown to it."""

    share: Share | None  # `None`: nothing, without a token
    uid: int = 0  # owner of everything
    gid: int = 0
    # Tells apart peers that see different things by one grant: with a certificate, by the grant of the address that
    # mounted. Replies that are remembered are not shared between them. Empty: the grant alone says what is seen.
    who: str = ""


class Grants(Protocol):
    """Tells who sees what."""

    def generation(self) -> object:
        """Return what equals itself for as long as all is answered as before, but for tokens. From memory."""
        ...

    def admitted(self, peer: Peer) -> Admitted:
        """Return what a peer sees by itself. From memory."""
        ...

    def mounted(self, peer: Peer, share: Share, path: bytes) -> None:
        """Take note that a peer has mounted a path of a share; no token stands in it."""
        ...

    def refused(self, peer: Peer) -> None:
        """Take note that a peer asks for something that sees nothing by itself. From memory."""
        ...

    def known(self, grant: bytes, peer: Peer) -> Share | None:
        """Return the share of a token's grant, from memory; `None`: not now, ask `granted`.

        Raises:
            GrantRefused: the token is no longer good, or its peer may not use it.
        """
        ...

    def granted(self, grant: bytes, peer: Peer) -> Share:
        """Return the share of a token's grant, whatever it takes.

        Raises:
            GrantRefused: as `known`; or there is no such grant.
            Unavailable: it can't be told now.
        """
        ...

    def by_token(self, token: str, peer: Peer) -> Share:
        """Return the share of a token that stood in the path of a mount, whatever it takes.

        Raises:
            GrantRefused, Unavailable: as `granted`.
        """
        ...


class OpenGrants:
    """Everything to everybody, without tokens."""

    def __init__(self, tree: FileTree, *, uid: int = 0, gid: int = 0) -> None:
        self._all = Admitted(Share(tree), uid, gid)

    def generation(self) -> object:
        return None

    def admitted(self, peer: Peer) -> Admitted:
        return self._all

    def mounted(self, peer: Peer, share: Share, path: bytes) -> None:
        return

    def refused(self, peer: Peer) -> None:
        raise AssertionError("everybody sees everything")

    def known(self, grant: bytes, peer: Peer) -> Share | None:
        raise _NO_TOKENS

    def granted(self, grant: bytes, peer: Peer) -> Share:
        raise _NO_TOKENS

    def by_token(self, token: str, peer: Peer) -> Share:
        raise _NO_TOKENS


_NO_TOKENS: Final = GrantRefused("no tokens are taken here")
