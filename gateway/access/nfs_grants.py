"""Who sees what by NFS: rules of addresses, client certificates, and tokens in the paths of mounts.

A grant, as it stands in handles, is 8 bytes: zeros for what anonymous may see; 2 and a keyed digest of the user for a
rule's user; 1 and the id of a token, whose secret was shown when it was mounted. None of them is a principal, and each
is asked about again, so that a token that is revoked and a policy that changes act on what is mounted already.

A client certificate decides who asks on its connection, whatever the rule of the address says; the grant in handles
stays that of the rule, since Linux mounts before it speaks TLS. Where certificates may come, an address that no rule
fits may mount `/`, and sees nothing in it without one. A handle of a token shows what the token shows, to all who have
it: as the token itself, it must not get into other hands, and so neither crosses a network in the clear.

Any thread.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final, Protocol

import structlog
from blake3 import blake3

from auth.errors import AuthError, BadCredentials, Throttled, Undecided
from auth.principal import ANONYMOUS, Kind, Principal, user
from auth.throttle import Throttle, line_of
from auth.tokens import DIGITS, ID_LENGTH, parse_text
from gateway.access import audit as events
from gateway.access.audit import Audit
from gateway.access.seldom import Seldom
from gateway.export_rules import LOOPBACK, ExportRule, Rules
from nfs.fhandle import NO_GRANT
from nfs.grants import Admitted, GrantRefused, Peer, Share
from store.errors import StoreUnavailable
from store.vfs.tree import FileTree

TREES: Final = 256  # principals whose trees are kept
_BY_TOKEN: Final = 1
_BY_RULE: Final = 2
_NOBODY: Final = "nobody"
_PLAIN: Final = (
    "a token in the path of a mount crosses the network in the clear, and so do the handles that it gives; mount by "
    "TLS (nfs.tls), by which Linux sends no path, or give --insecure"
)

_log = structlog.stdlib.get_logger("aetherfs.nfs")


class Trees(Protocol):
    """What each principal may see."""

    def of(self, principal: Principal) -> FileTree: ...


class MountTokens(Protocol):
    """Tokens for paths of mounts: `gateway.access.tokens.Tokens`."""

    def check(self, text: str, *, nfs: bool = False) -> Principal: ...
    def known_grant(self, token: str) -> Principal | None: ...
    def check_grant(self, token: str) -> Principal: ...
    def close(self) -> None: ...


class Certificates(Protocol):
    """Client certificates that TLS has verified."""

    def principal(self, certificate: bytes) -> Principal: ...


class NfsGrants:
    """Tells an NFS server who sees what: `nfs.grants.Grants`."""

    def __init__(
        self,
        rules: Sequence[ExportRule],
        trees: Trees,
        *,
        generation: Callable[[], object],
        key: bytes = bytes(32),
        tokens: MountTokens | None = None,
        certificates: Certificates | None = None,
        throttle: Throttle | None = None,
        audit: Audit | None = None,
        insecure: bool = False,
    ) -> None:
        """Take what decides.

        Args:
            rules: none: this machine, as anonymous.
            trees: what each principal may see.
            generation: of the policy.
            key: 32 bytes, the same on every gateway of the store: who sees handles on their way is not to try users.
            tokens: `None`: none are taken.
            certificates: `None`: none are looked at.
            throttle: slows down who guesses at tokens.
            audit: told of mounts by tokens, and of who is turned away.
            insecure: tokens may cross a network in the clear.
        """
        self._rules, self._trees, self._generation = Rules(rules or (LOOPBACK,)), trees, generation
        self._tokens, self._certificates, self._insecure, self._key = tokens, certificates, insecure, key
        self._throttle = throttle if throttle is not None else Throttle()
        self._audit = audit if audit is not None else events.NOWHERE
        self._shown: OrderedDict[Principal, FileTree] = OrderedDict()
        self._seldom = Seldom()
        self._lock = threading.Lock()

    def generation(self) -> object:
        return self._generation()

    def close(self) -> None:
        """Write what is still to be written."""
        if self._tokens is not None:
            self._tokens.close()
        self._audit.close()

    # by rule and certificate

    def admitted(self, peer: Peer) -> Admitted:
        rule = self._rules.of(peer.address)
        uid, gid = (0, 0) if rule is None else (rule.uid, rule.gid)
        by_rule = _principal(rule) if rule is not None else ANONYMOUS
        grant = grant_of_rule(by_rule, self._key)
        if peer.certificate and self._certificates is not None:
            try:
                principal = self._certificates.principal(peer.certificate)
            except BadCredentials:
                return Admitted(None, uid, gid, _NOBODY)
            self._let_in(peer, principal, "certificate")
            return Admitted(self._share(principal, grant), uid, gid, str(principal))
        if rule is not None:
            if by_rule != ANONYMOUS:
                self._let_in(peer, by_rule, "address")
            return Admitted(self._share(by_rule, grant), uid, gid)
        if self._certificates is not None:
            return Admitted(self._share(NOBODY, grant)._replace(label=_NOBODY), uid, gid, _NOBODY)
        return Admitted(None, uid, gid, _NOBODY)

    def mounted(self, peer: Peer, share: Share, path: bytes) -> None:
        if self._audit.reads:
            self._audit.note(
                events.READ, events.OK, principal=share.label, address=peer.address,
                target=path.decode("utf-8", "backslashreplace"), surface="nfs",
            )  # fmt: skip

    def refused(self, peer: Peer) -> None:
        why = "no rule of nfs.export fits the address"
        if peer.certificate and self._certificates is not None:
            try:
                self._certificates.principal(peer.certificate)
            except BadCredentials as error:
                why = str(error)
        self._turned_away(peer, why, _NOBODY)

    # by token

    def known(self, grant: bytes, peer: Peer) -> Share | None:
        token = self._token_in(grant, peer)
        assert self._tokens is not None  # noqa: S101  # for the type checker: `_token_in` has looked
        principal = self._tokens.known_grant(token)
        return None if principal is None else self._by_token(principal, grant)

    def granted(self, grant: bytes, peer: Peer) -> Share:
        token = self._token_in(grant, peer)
        assert self._tokens is not None  # noqa: S101  # as above
        try:
            return self._by_token(self._tokens.check_grant(token), grant)
        except BadCredentials as error:
            self._turned_away(peer, str(error), "token")
            raise GrantRefused(str(error)) from error
        except AuthError as error:
            raise StoreUnavailable("the store of tokens", str(error)) from error

    def by_token(self, token: str, peer: Peer) -> Share:
        if self._tokens is None:
            raise GrantRefused("no tokens are taken here")
        self._check_private(peer)
        id = _id_in(token)
        key = Throttle.key(id, peer.address)
        try:
            self._throttle.check(key)
            principal = self._tokens.check(token, nfs=True)
        except BadCredentials as error:
            self._throttle.failure(key)
            self._turned_away(peer, str(error), "token", every=True)
            raise GrantRefused(str(error)) from error
        except Undecided as error:
            raise StoreUnavailable("the store of tokens", str(error)) from error
        except Throttled as error:
            self._turned_away(peer, str(error), "token")
            raise GrantRefused(str(error)) from error
        self._throttle.success(key)
        self._audit.note(events.LOGIN, events.OK, principal=principal, address=peer.address, way="token", surface="nfs")
        return self._by_token(principal, grant_of_token(id))

    def _token_in(self, grant: bytes, peer: Peer) -> str:
        """Return the id of the token that a grant is of.

        Raises:
            GrantRefused: it is of none, or may not be used so.
        """
        token = token_of(grant)
        if token is None:
            raise GrantRefused("a handle of another export")
        if self._tokens is None:
            raise GrantRefused("no tokens are taken here")
        self._check_private(peer)
        return token

    def _check_private(self, peer: Peer) -> None:
        if not (peer.secured or self._insecure or is_this_machine(peer.address)):
            self._turned_away(peer, _PLAIN, "token")
            raise GrantRefused(_PLAIN)

    def _by_token(self, principal: Principal, grant: bytes) -> Share:
        return self._share(principal, grant)._replace(name=principal.name)

    # what both need

    def _share(self, principal: Principal, grant: bytes) -> Share:
        return Share(self._tree(principal), grant, label=str(principal))

    def _let_in(self, peer: Peer, principal: Principal, way: str) -> None:
        """Note who is let in without a word of theirs, now and then."""
        if self._seldom.first((peer.address, way, principal)):
            self._audit.note(events.LOGIN, events.OK, principal=principal, address=peer.address, way=way, surface="nfs")

    def _tree(self, principal: Principal) -> FileTree:
        with self._lock:
            tree = self._shown.get(principal)
            if tree is None:
                tree = self._shown[principal] = self._trees.of(principal)
                if len(self._shown) > TREES:
                    self._shown.popitem(last=False)
            else:
                self._shown.move_to_end(principal)
            return tree

    def _turned_away(self, peer: Peer, why: str, principal: str, *, every: bool = False) -> None:
        """Say that somebody is turned away: in the audit log, and now and then in the log."""
        # Who has a network of IPv6 has more addresses than a disk holds.
        first = self._seldom.first((line_of(peer.address), why))
        if first:
            _log.warning("turned away", peer=peer.address, why=why)
        if first or every:
            self._audit.note(
                events.LOGIN, events.REFUSED, principal=principal, address=peer.address, why=why, surface="nfs"
            )


NOBODY: Final = Principal(Kind.TOKEN, _NOBODY)  # that was made for nothing: no rule shows it anything


def grant_of_rule(principal: Principal, key: bytes) -> bytes:
    """Return the grant of those who see what a principal sees, by their address."""
    if principal == ANONYMOUS:
        return NO_GRANT
    return bytes([_BY_RULE]) + blake3(str(principal).encode("utf-8", "surrogateescape"), key=key).digest(7)


def grant_of_token(token: str) -> bytes:
    """Return the grant of a token, by its id; `token_of` is the way back."""
    number = functools.reduce(lambda whole, digit: whole << 5 | DIGITS.index(digit), token, 0)
    return bytes([_BY_TOKEN]) + number.to_bytes(7, "big")


def token_of(grant: bytes) -> str | None:
    """Return the id of the token that a grant is of; `None`: it is of none."""
    if grant[0] != _BY_TOKEN:
        return None
    number = int.from_bytes(grant[1:], "big")
    return "".join(DIGITS[number >> 5 * place & 31] for place in reversed(range(ID_LENGTH)))


def is_this_machine(address: str) -> bool:
    """Tell whether an address, as text, is one that no other machine can have; what has none is a local socket."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _id_in(token: str) -> str:
    """Return the id in a token as it was shown; empty: it is none, as who checks it will say."""
    try:
        return parse_text(token).id
    except BadCredentials:
        return ""


def _principal(rule: ExportRule) -> Principal:
    name = rule.principal.partition(":")[2]
    return user(name, frozenset(rule.groups)) if name else ANONYMOUS
