"""What operations stand on, and the questions that all of them ask of the policy.

What somebody may not read is told as what is not there, in the very same words; who did not log in is asked to. Any
thread.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from auth.patterns import EVERYTHING
from auth.policy import AUTHENTICATED, Policy
from auth.principal import ANONYMOUS, Action, Grant, Kind, Principal
from gateway.access import audit as events
from gateway.access.audit import Audit
from gateway.config import Settings
from gateway.operations.errors import LoginNeeded, NotAllowed
from store.errors import DatasetMissing
from store.repository import Repository


class Policies(Protocol):
    """Where the policy of the moment is from (`gateway.access.policies`)."""

    @property
    def policy(self) -> Policy: ...
    def refresh(self) -> bool: ...


class Asking(Protocol):
    """Who asks."""

    @property
    def principal(self) -> Principal: ...
    @property
    def address(self) -> str:
        """From where."""
        ...

    @property
    def surface(self) -> str:
        """By what, as the audit log has it."""
        ...


class Caller(NamedTuple):
    """Who asks, as a value."""

    principal: Principal
    address: str
    surface: str


@dataclass(frozen=True, slots=True)
class Operations:
    """What operations stand on."""

    repository: Repository
    policies: Policies
    settings: Settings
    audit: Audit

    def allows(self, who: Asking, action: Action, dataset: str = EVERYTHING) -> bool:
        """Tell whether whoever asks may do something to a dataset; by default, to all of them."""
        return self.policies.policy.allows(who.principal, action, dataset)

    def need_read(self, who: Asking, dataset: str) -> None:
        """Go on only if whoever asks may read a dataset.

        Raises:
            DatasetMissing: they may not, whether or not there is one.
            LoginNeeded: they did not log in.
        """
        if not self.allows(who, Action.READ, dataset):
            self.denied(who, Action.READ, dataset)
            raise DatasetMissing(dataset)

    def need(self, who: Asking, action: Action, dataset: str) -> None:
        """Go on only if whoever asks may do something to a dataset, and read it: else what comes of it would tell.

        Raises:
            DatasetMissing: they may not even read it.
            NotAllowed: they may read it.
            LoginNeeded: they did not log in.
        """
        reads = self.allows(who, Action.READ, dataset)
        if reads and self.allows(who, action, dataset):
            return
        self.denied(who, action, dataset)
        if not reads:
            raise DatasetMissing(dataset)
        raise NotAllowed(f"you may read {dataset}, but for this you need the right to {action} there")

    def need_admin(self, who: Asking) -> None:
        """Go on only if whoever asks administers everything.

        Raises:
            NotAllowed: they do not.
            LoginNeeded: they did not log in.
        """
        if not self.allows(who, Action.ADMIN):
            self.denied(who, Action.ADMIN, EVERYTHING)
            raise NotAllowed("for this you need the right to admin on *")

    def need_login(self, who: Asking) -> None:
        """Go on only if somebody logged in, or everybody administers everything.

        Raises:
            LoginNeeded: neither.
        """
        if who.principal == ANONYMOUS and not self.allows(who, Action.ADMIN):
            self.denied(who, Action.ADMIN, EVERYTHING)

    def denied(self, who: Asking, action: Action, dataset: str) -> None:
        """Note that something was refused.

        Raises:
            LoginNeeded: whoever asked did not log in.
        """
        self.note(who, events.DENIAL, events.REFUSED, dataset=dataset, action=str(action))
        if who.principal == ANONYMOUS:
            raise LoginNeeded

    def note(self, who: Asking, event: str, outcome: str, **more: object) -> None:
        """Tell the audit log."""
        self.audit.note(event, outcome, principal=who.principal, address=who.address, surface=who.surface, **more)

    def rules(self, who: Asking) -> list[str]:
        """Say what somebody may do at most, as rules of tokens; what others are denied, and why, is not told."""
        policy, principal = self.policies.policy, who.principal
        if policy.open_to_all:
            return [str(Grant(frozenset(Action), EVERYTHING))]
        if principal.kind is Kind.TOKEN:
            return [str(grant) for grant in principal.grants]
        names = {str(ANONYMOUS)}
        if principal.kind is not Kind.ANONYMOUS:
            names |= {str(principal), AUTHENTICATED, *(f"group:{group}" for group in principal.groups)}
        allowed = [rule for rule in policy.rules if rule.allows and not names.isdisjoint(rule.to)]
        return list(dict.fromkeys(str(Grant(rule.actions, pattern)) for rule in allowed for pattern in rule.on))
