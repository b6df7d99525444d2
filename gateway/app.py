"""Settings -> object graph: the store and its tree for one process, the groups of processes for a gateway.

Front ends are imported only in the worker that runs them: a busy Python thread of one would starve the other's.
"""

import contextlib
import dataclasses
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.config import OFF, Address, ConfigError, Settings, parse_address
from gateway.exposure import check_exposure, warn_of_exposure
from gateway.lifecycle import Server, affordable, bound, listen
from gateway.supervisor import Group, Supervisor
from store.objects.retry import Backoff
from store.root import StoreRoot
from store.secret import Secret

if TYPE_CHECKING:
    from gateway.stores import Opened
    from gateway.tls import Contexts
    from nfs.tls import Tls
    from store.vfs.storetree import StoreTree

SERVING: Final = Backoff(attempts=6, give_up_s=5.0, answer_s=5.0)
MOST_WORKERS: Final = 256  # of one kind; more than any machine's cores, less than its descriptors


_log = logging.getLogger(__name__)


class Interface(NamedTuple):
    """One way in: how it is called, how it is written in the ready line, and who serves it."""

    name: str
    scheme: str
    entry: str
    insecure_entry: str = ""  # who serves it with `--insecure`, where that makes a difference
    binds: bool = False  # its one worker binds the address itself


INTERFACES: Final = (
    Interface("http", "http://", "gateway.app:http_server"),
    Interface("nfs", "", "gateway.app:nfs_server", "gateway.app:insecure_nfs_server"),
    Interface("grpc", "", "gateway.app:grpc_server", binds=True),
)


class Built(NamedTuple):
    """An open store, as a worker serves it."""

    tree: "StoreTree"
    opened: "Opened"

    @property
    def handle_key(self) -> bytes:
        """Return what NFS handles are authenticated with, and the cookies of browsers derived from."""
        return self.tree.handle_key


class Closing:
    """A server, and what is to be closed once it is drained."""

    def __init__(self, server: Server, close: Callable[[], None]) -> None:
        self._server, self._close = server, close

    def serve_forever(self) -> None:
        """Accept and answer until drained."""
        self._server.serve_forever()

    def drain(self, timeout_s: float) -> None:
        """Drain the server, and close what it used."""
        self._server.drain(timeout_s)
        self._close()


def build_tree(settings: Settings) -> Built:
    """Open the store and its tree."""
    from gateway.stores import Options, open_store
    from store.vfs.opening import open_tree

    waiting = Options(on_wait=lambda why, seconds: _log.warning("%s; trying again in %.1f s", why, seconds))
    # A gateway may be started before its store: its first look waits as long as a command would. From then on whoever
    # asks is told soon, and asks again: calls that wait hold threads, which those need who could be answered.
    open_store(settings, waiting).objects.close()
    opened = open_store(settings, waiting._replace(backoff=SERVING))
    folder, key = disk_cache(settings), None
    if folder is not None:
        try:
            key = cache_key(settings, opened.root)
        except OSError as error:
            folder = None
            _log.warning("no disk cache: its key can't be made: %s; set XDG_STATE_HOME to a folder that can", error)
    tree = open_tree(
        opened.guard,
        opened.root,
        seen=opened.seen,
        cache_memory=settings.cache.memory,
        cache_dir=folder,
        cache_disk=settings.cache.disk,
        cache_key=key,
    )
    return Built(tree, opened)


def cache_key(settings: Settings, root: StoreRoot) -> Secret | None:
    """Return the key that seals the disk cache of a store; `None` for an encrypted one, which is sealed as it comes.

    Raises:
        ConfigError, OSError: as `local_key`.
    """
    from gateway.localkey import local_key

    return local_key(settings) if root.keys is None else None


def disk_cache(settings: Settings) -> Path | None:
    """Say in which folder what is read of stores is kept, or that nothing is."""
    from gateway.stores import store_folder

    # A folder store lies on a disk already: it is cached on another one only where the settings say so.
    wanted = settings.cache.disk and (settings.cache.dir or store_folder(settings) is None)
    return settings.cache_dir / "blocks" if wanted else None


def http_server(settings: Settings, listener: socket.socket) -> Server:
    """Build an HTTP worker's server."""
    from gateway.access.build import build_access
    from gateway.access.reads import AuditedReads
    from gateway.board import board
    from gateway.forwarded import Proxies
    from gateway.web.access import Accesses, AccessLog
    from gateway.web.app import make_fast_lane, make_wsgi_app
    from gateway.web.server import HttpLimits, HttpServer

    built = build_tree(settings)
    access = build_access(settings, built, board())
    log: Accesses | None = None
    if settings.http.access_log:
        try:
            log = AccessLog(settings.http.access_log, settings.http.access_format)
        except OSError as error:
            raise ConfigError(
                f"http.access_log: {settings.http.access_log} cannot be written: {error.strerror}"
            ) from error
    if access.audit.reads:
        log = AuditedReads(access.audit, log)
    trusted = settings.http.trusted_proxies
    parts = access.parts._replace(proxies=Proxies(trusted) if trusted else None)
    server = HttpServer(
        listener,
        make_wsgi_app(built.tree, parts),
        lane=make_fast_lane(built.tree, parts),
        limits=HttpLimits(idle=affordable(HttpLimits().idle, each=1)),
        access=log,
        tls=http_tls(settings),
        proxies=parts.proxies,
    )
    return Closing(server, access.tokens.close)


def http_tls(settings: Settings) -> "Contexts | None":
    """Read what HTTP needs for TLS, if it is to be spoken.

    Raises:
        ConfigError: a file is missing or no good.
    """
    from gateway.tls import TlsFiles, contexts_of

    http = settings.http
    files = TlsFiles(http.tls_cert, http.tls_key, http.client_ca)
    return contexts_of("http", files, (b"http/1.1",)) if any(files) else None


def insecure_nfs_server(settings: Settings, listener: socket.socket) -> Server:
    """Build an NFS worker's server where `--insecure` was given."""
    return nfs_server(settings, listener, insecure=True)


def nfs_server(settings: Settings, listener: socket.socket, *, insecure: bool = False) -> Server:
    """Build an NFS worker's server; `insecure` is as for `gateway.access.nfs_build.build_grants`."""
    from gateway.access.nfs_build import build_grants
    from gateway.board import board
    from nfs.limits import DESCRIPTORS, Limits
    from nfs.server import NfsServer

    built = build_tree(settings)
    grants = build_grants(settings, built, board(), insecure=insecure)
    limits = Limits(
        connections=affordable(settings.nfs.connections, each=DESCRIPTORS),
        in_flight_bytes=settings.nfs.in_flight,
        record_s=settings.nfs.record_time,
        patience_s=settings.nfs.patience,
    )
    server = NfsServer(
        listener,
        built.tree,
        handle_key=built.handle_key,
        limits=limits,
        small_fileids=settings.nfs.small_fileids,
        tls=nfs_tls(settings),
        grants=grants,
    )
    return Closing(server, grants.close)


def nfs_tls(settings: Settings) -> "Tls | None":
    """Read what NFS needs for TLS, if it is to be spoken.

    Raises:
        ConfigError: a file is missing or no good.
    """
    from gateway.tls import TlsFiles, contexts_of
    from nfs.tls import ALPN, Tls

    nfs = settings.nfs
    if nfs.tls == OFF:
        return None
    contexts = contexts_of("nfs", TlsFiles(nfs.tls_cert, nfs.tls_key, nfs.client_ca), (ALPN,))
    contexts.watch()
    return Tls(contexts, required=nfs.tls == "require")


def grpc_server(settings: Settings) -> Server:
    """Build the gRPC worker's server, which binds the address that the settings say.

    Raises:
        ServeError: something else listens there.
    """
    from gateway.access.rpc_build import build_rpc
    from gateway.board import board

    return build_rpc(settings, build_tree(settings), board())


def serve(
    settings: Settings,
    announce: Callable[[str], None],
    *,
    workers: int = 1,
    insecure: bool = False,
    log_level: int = logging.WARNING,
    interfaces: Sequence[Interface] = INTERFACES,
) -> None:
    """Run a gateway in the foreground until SIGTERM or SIGINT.

    Args:
        settings: where to listen, and everything the workers need.
        announce: called once with the ready line, when every listener accepts connections.
        workers: processes for each interface, from 1.
        insecure: allow addresses that other machines can reach.
        log_level: as in `logging`.
        interfaces: what can be served.

    Raises:
        ConfigError: nothing to serve, or an address is refused.
        ServeError: an address is in use, or a worker cannot start.
        StoreError: the store cannot be opened.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"workers: from 1 to {MOST_WORKERS}, got {workers}")
    addresses = [(interface, address) for interface in interfaces if (address := _address(settings, interface))]
    if not addresses:
        raise ConfigError("every interface is off: nothing to serve")
    if not insecure:
        for interface, address in addresses:
            check_exposure(settings, interface.name, address)
    warn_of_exposure(settings)
    with contextlib.ExitStack() as opened:
        groups, places = [], []
        for interface, address in addresses:
            entry = (insecure and interface.insecure_entry) or interface.entry
            listener = opened.enter_context(listen(interface.name, address, accepting=not interface.binds))
            at = bound(listener)
            if not insecure:
                check_exposure(settings, interface.name, at)  # a name may mean another address now than a moment ago
            if not interface.binds:
                groups.append(Group(interface.name, entry, (listener,), workers))
            else:
                settings = _bound_to(settings, interface, at)
                groups.append(Group(interface.name, entry, (), 1))
                if sys.platform != "linux":
                    listener.close()  # elsewhere nobody could bind beside it
            places.append(f"{interface.name}={_scheme(settings, interface)}{at}")
        if settings.nfs.portmap:
            from gateway.portmap import open_portmap

            nfs = next((group for group in groups if group.name == "nfs"), None)
            if nfs is None:
                raise ConfigError("nfs.portmap: NFS is off, so there is nothing that a portmapper could tell")
            group, place = open_portmap(settings, nfs.listeners[0], opened)
            groups.append(group)
            places.append(place)
        Supervisor(groups, settings, log_level=log_level).run(lambda: announce(" ".join(["ready", *places])))


def _bound_to(settings: Settings, interface: Interface, place: Address) -> Settings:
    """Return settings in which an interface's address is the one that was found: a worker's successor gets it too."""
    section = dataclasses.replace(getattr(settings, interface.name), listen=str(place))
    return dataclasses.replace(settings, **{interface.name: section})


def _scheme(settings: Settings, interface: Interface) -> str:
    return "https://" if interface.name == "http" and settings.http.tls_cert else interface.scheme


def _address(settings: Settings, interface: Interface) -> Address | None:
    return parse_address(getattr(settings, interface.name).listen)
