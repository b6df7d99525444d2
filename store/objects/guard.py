"""Keeping two writers from overwriting each other on a store that does not honour conditional writes.

The store is probed before the first conditional write and never for reading. A store found wanting takes no conditional
write at all, unless the caller vouches that there is only one writer: then the condition is checked here.

Threads: every method may be called from any thread. Two first writes at once may both probe, which does no harm.
"""

import threading
from collections.abc import Callable

from store.errors import ConditionsIgnored, ObjectMissing, OutcomeUnknown, PreconditionFailed, StoreUnavailable
from store.objects.base import Buffer, ObjectStore
from store.objects.probe import Conditions, bare, probe_conditions
from store.objects.wrapper import Wrapper


class Guarded(Wrapper):
    """Lets conditional writes through to stores that honour them, with ETags as they want them."""

    def __init__(
        self,
        inner: ObjectStore,
        *,
        remembered: Conditions | None = None,
        remember: Callable[[Conditions], None] | None = None,
        single_writer: bool = False,
    ) -> None:
        """Wrap `inner`.

        Args:
            inner: where calls go; closed with this one.
            remembered: what an earlier probe of this store found; `None`: probe when needed.
            remember: told what a probe found.
            single_writer: the caller vouches that no other process writes; conditions that the store does not honour
                are then checked by reading first, one write at a time.
        """
        super().__init__(inner)
        self._conditions = remembered
        self._remember = remember
        self._single_writer = single_writer
        self._one_at_a_time = threading.Lock()

    def ensure_writable(self) -> Conditions:
        """Probe, if that was not done yet, and return what the store can do: worth calling before long work.

        Raises:
            ConditionsIgnored: several writers could overwrite each other, and nobody vouched that there is one only.
            StoreUnavailable, StoreDenied, StoreFull, StoreMissing: the probe could not be made.
        """
        conditions = self._conditions
        if conditions is None:
            conditions = probe_conditions(self._inner)
            self._conditions = conditions
            if self._remember is not None:
                self._remember(conditions)
        if not conditions.honoured and not self._single_writer:
            raise ConditionsIgnored(self.address, conditions.why)
        return conditions

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`.

        Raises:
            ConditionsIgnored: see `ensure_writable`.
        """
        conditions = self.ensure_writable()
        if conditions.honoured:
            asked = match if match is None or conditions.quoted else bare(match)
            return self._inner.put_if(key, data, match=asked)
        # The one lock held across requests: it stands in for the condition that the store ignores.
        with self._one_at_a_time:
            if self._etag_of(key) != match:
                raise PreconditionFailed(key)
            try:
                return self._inner.put(key, data)
            except StoreUnavailable as error:
                raise OutcomeUnknown(key, error.why) from error

    def _etag_of(self, key: str) -> str | None:
        try:
            return self._inner.head(key).etag
        except ObjectMissing:
            return None
