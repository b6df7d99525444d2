"""Settings and an open store -> login and policy of a worker.

What workers have to tell each other goes by `gateway.board`: wrong passwords, which slow down who guesses at all of
them. Called once, before anything is served.
"""

from typing import TYPE_CHECKING, NamedTuple

from gateway.access.audit import Audit, open_audit
from gateway.access.certificates import Certificates
from gateway.access.ended import Ended
from gateway.access.gate import Gate
from gateway.access.guard import Guard
from gateway.access.identify import Identifier, Ways
from gateway.access.oidc import open_login
from gateway.access.policies import PolicySource
from gateway.access.sharing import shared_tokens
from gateway.access.tokens import Tokens
from gateway.access.trees import Trees
from gateway.access.ways import open_passwords, open_policies
from gateway.board import Board
from gateway.config import Settings
from gateway.web.api.app import ApiApp
from gateway.web.app import Parts
from gateway.web.login import LoginApp
from gateway.web.sessions import Sessions
from store.repository import Repository

if TYPE_CHECKING:
    from gateway.app import Built


class Access(NamedTuple):
    """Login and policy of one worker."""

    parts: Parts
    policies: PolicySource
    tokens: Tokens
    audit: Audit


def build_access(settings: Settings, built: "Built", board: Board) -> Access:
    """Build what HTTP needs.

    Raises:
        ConfigError: a file that settings name can't be used.
        StoreError: the policy lies in the bucket, which does not say.
    """
    opened = built.opened
    audit = open_audit(settings)
    policies = open_policies(settings, opened, audit)
    tokens = shared_tokens(opened.objects, board)
    repository = Repository(opened.objects, opened.root, seen=opened.seen)
    api = ApiApp(repository, policies=policies, tokens=tokens, settings=settings, audit=audit, seen=opened.seen)
    if not settings.login:
        return Access(Parts(api=api), policies, tokens, audit)
    passwords = open_passwords(settings, board)
    login = open_login(settings)
    secret = login.client.secret.encode() if login is not None else b""
    ended = Ended(opened.objects, told=lambda: board.tell("ended", "session"))
    board.hear("ended", lambda _: ended.look_again())
    sessions = Sessions(
        built.handle_key,
        ended,
        lasts_s=settings.auth.session_time * 3600,
        public_url=settings.http.public_url,
        secret=secret,
        mark=passwords.mark if passwords is not None else lambda user: None,
    )
    certificates = Certificates(settings.auth.certificates) if settings.http.client_ca else None
    ways = Ways(passwords, tokens, login.tokens if login is not None else None, sessions, certificates)
    gate = Gate(Identifier(ways), policies, audit, page=login is not None)
    pages = LoginApp(
        built.handle_key, sessions, passwords=passwords, login=login, audit=audit,
        public_url=settings.http.public_url, secret=secret,
    )  # fmt: skip
    return Access(Parts(Guard(gate, Trees(built.tree, policies)), api, pages), policies, tokens, audit)
