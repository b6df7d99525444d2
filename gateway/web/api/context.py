"""What the resources of the REST interface stand on, and the questions that all of them ask of the policy.

What somebody may not read is told as what is not there, in the very same words; who did not log in is asked to. Any
thread.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from auth.patterns import EVERYTHING
from auth.policy import Policy
from auth.principal import ANONYMOUS, Action
from gateway.access import audit as events
from gateway.access.audit import Audit
from gateway.access.gate import CHALLENGES
from gateway.access.tokens import Tokens
from gateway.config import Settings
from gateway.web.api.call import Call
from gateway.web.api.problems import Problem
from store.catalogue.catalogue import Seen
from store.errors import DatasetMissing
from store.repository import Repository

SURFACE: Final = "api"  # in the audit log


class Policies(Protocol):
    """Where the policy of the moment is from (`gateway.access.policies`)."""

    @property
    def policy(self) -> Policy: ...
    def refresh(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What the resources stand on."""

    repository: Repository
    policies: Policies
    tokens: Tokens
    settings: Settings
    audit: Audit
    seen: Seen | None = None  # told how often the policy in the bucket was written

    def allows(self, call: Call, action: Action, dataset: str = EVERYTHING) -> bool:
        """Tell whether whoever asks may do something to a dataset; by default, to all of them."""
        return self.policies.policy.allows(call.principal, action, dataset)

    def need_read(self, call: Call, dataset: str) -> None:
        """Go on only if whoever asks may read a dataset.

        Raises:
            DatasetMissing: they may not, whether or not there is one.
            Problem: 401: they did not log in.
        """
        if not self.allows(call, Action.READ, dataset):
            self.denied(call, Action.READ, dataset)
            raise DatasetMissing(dataset)

    def need(self, call: Call, action: Action, dataset: str) -> None:
        """Go on only if whoever asks may do something to a dataset, and read it: else what comes of it would tell.

        Raises:
            DatasetMissing: they may not even read it.
            Problem: 403: they may read it. 401: they did not log in.
        """
        reads = self.allows(call, Action.READ, dataset)
        if reads and self.allows(call, action, dataset):
            return
        self.denied(call, action, dataset)
        if not reads:
            raise DatasetMissing(dataset)
        raise Problem(403, f"you may read {dataset}, but for this you need the right to {action} there")

    def need_admin(self, call: Call) -> None:
        """Go on only if whoever asks administers everything.

        Raises:
            Problem: 403; 401: they did not log in.
        """
        if not self.allows(call, Action.ADMIN):
            self.denied(call, Action.ADMIN, EVERYTHING)
            raise Problem(403, "for this you need the right to admin on *")

    def need_login(self, call: Call) -> None:
        """Go on only if somebody logged in, or everybody administers everything.

        Raises:
            Problem: 401.
        """
        if call.principal == ANONYMOUS and not self.allows(call, Action.ADMIN):
            self.denied(call, Action.ADMIN, EVERYTHING)

    def denied(self, call: Call, action: Action, dataset: str) -> None:
        """Note that something was refused.

        Raises:
            Problem: 401: whoever asked did not log in.
        """
        self.note(call, events.DENIAL, events.REFUSED, dataset=dataset, action=str(action))
        if call.principal == ANONYMOUS:
            raise Problem(
                401, "log in: with user and password, or with a token as the password or as Bearer",
                headers=[*CHALLENGES],
            )  # fmt: skip

    def note(self, call: Call, event: str, outcome: str, **more: object) -> None:
        """Tell the audit log."""
        self.audit.note(event, outcome, principal=call.principal, address=call.address, surface=SURFACE, **more)
