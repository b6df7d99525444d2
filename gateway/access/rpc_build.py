"""Settings and an open store -> gRPC's server, for its worker. Called once, before anything is served."""

from typing import TYPE_CHECKING

from gateway.access.audit import open_audit
from gateway.access.certificates import Certificates
from gateway.access.entrance import Entrance
from gateway.access.identify import Identifier, Ways
from gateway.access.oidc import open_login
from gateway.access.sharing import shared_tokens
from gateway.access.ways import open_passwords, open_policies
from gateway.board import Board
from gateway.config import ConfigError, Settings, parse_address
from gateway.lifecycle import Server, affordable
from gateway.operations.files import Files
from gateway.operations.rights import Operations
from gateway.rpc.callers import SURFACE, Callers
from gateway.rpc.limits import CONNECTIONS
from gateway.rpc.methods import Context
from gateway.rpc.server import RpcServer
from gateway.rpc.service import Datasets
from store.repository import Repository

if TYPE_CHECKING:
    from gateway.app import Built
    from gateway.tls import Contexts


def build_rpc(settings: Settings, built: "Built", board: Board) -> Server:
    """Build the server, which listens from then on.

    Raises:
        ConfigError: a file that settings name can't be used.
        ServeError: something else listens at its address.
        StoreError: the policy lies in the bucket, which does not say.
    """
    from gateway.app import Closing

    address = parse_address(settings.grpc.listen)
    if address is None:  # nobody is asked to build what is off
        raise ConfigError("grpc.listen is off")
    opened = built.opened
    audit = open_audit(settings)
    policies = open_policies(settings, opened, audit)
    tokens = shared_tokens(opened.objects, board)
    on = Operations(Repository(opened.objects, opened.root, seen=opened.seen), policies, settings, audit)
    contexts = rpc_tls(settings)
    credentials, verify = None, None
    if contexts is not None:
        from gateway.rpc.tls import Credentials, Vouched

        contexts.watch()
        credentials = Credentials(contexts).server
        verify = Vouched(contexts).verify if settings.grpc.client_ca else None
    entrance = None
    if settings.login:
        login = open_login(settings)
        certificates = Certificates(settings.auth.certificates) if settings.grpc.client_ca else None
        provider = login.tokens if login is not None else None
        ways = Ways(open_passwords(settings, board), tokens, provider, None, certificates)
        entrance = Entrance(Identifier(ways), audit, surface=SURFACE)
    callers = Callers(on, entrance, verify)
    server = RpcServer(
        address,
        lambda: Datasets(Context(on, Files(on, built.tree)), callers, built.tree),
        connections=affordable(CONNECTIONS, each=1),
        credentials=credentials,
    )
    return Closing(server, tokens.close)


def rpc_tls(settings: Settings) -> "Contexts | None":
    """Read what gRPC needs for TLS, if it is to be spoken.

    Raises:
        ConfigError: a file is missing or no good.
    """
    from gateway.tls import TlsFiles, contexts_of

    files = TlsFiles(*settings.grpc_certificate, settings.grpc.client_ca)
    section = "grpc" if settings.grpc.tls_cert or settings.grpc.tls_key or not settings.http.tls_cert else "http"
    return contexts_of(section, files, (b"h2",)) if any(files) else None
