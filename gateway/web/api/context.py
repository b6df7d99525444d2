"""What the resources of the REST interface stand on, besides what all operations do. Any thread."""

from dataclasses import dataclass

from gateway.access.tokens import Tokens
from gateway.operations.rights import Operations
from store.catalogue.catalogue import Seen


@dataclass(frozen=True, slots=True)
class Context(Operations):
    """What the resources stand on."""

    tokens: Tokens
    seen: Seen | None = None  # told how often the policy in the bucket was written
