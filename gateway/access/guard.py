"""The gate, and behind it for each principal the applications over what it may see.

A principal's tree and applications are made when it comes first and kept for as long as others do not crowd them out.
Any thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, Protocol

from auth.policy import Policy
from auth.principal import ANONYMOUS, Action, Principal
from dav.reply import Environ
from dav.warm import WarmTree
from gateway.access.gate import Gate
from gateway.web.app import Shown, show
from store.vfs.storetree import StoreTree
from store.vfs.tree import FileTree
from store.vfs.visible import VisibleTree

VIEWS: Final = 256  # principals whose applications are kept


class Policies(Protocol):
    """Where the policy of the moment is from."""

    @property
    def policy(self) -> Policy: ...
    @property
    def generation(self) -> int: ...


class Trees:
    """What each principal may see, as a tree."""

    def __init__(self, tree: StoreTree, policies: Policies) -> None:
        self._tree, self._policies = tree, policies

    def of(self, principal: Principal) -> FileTree:
        """Return what a principal may see."""

        def readable(dataset: str) -> bool:
            return self._policies.policy.allows(principal, Action.READ, dataset)

        def public(dataset: str) -> bool:
            return self._policies.policy.allows(ANONYMOUS, Action.READ, dataset)

        return VisibleTree(self._tree, readable=readable, public=public, generation=lambda: self._policies.generation)


class Guard:
    """See the module."""

    def __init__(self, gate: Gate, trees: Trees, *, warm: bool = False, shown: Shown | None = None) -> None:
        """Guard what is shown.

        Args:
            gate: lets requests through.
            trees: what each principal may see.
            warm: show trees that never wait.
            shown: applications over any tree, from which those of each principal are made.
        """
        self._gate, self._trees, self._warm = gate, trees, warm
        self._shown = shown or show(trees.of(ANONYMOUS))
        self._views: OrderedDict[Principal, Shown] = OrderedDict()
        self._lock = threading.Lock()

    def prompt(self) -> "Guard":
        """Return the same where nobody may wait: it raises `NotWarm` for what takes long."""
        return Guard(self._gate.prompt(), self._trees, warm=True, shown=self._shown)

    def admit(self, environ: Environ, names: tuple[bytes, ...]) -> Shown:
        """Let a request for the tree through; return the applications over what whoever asks may see.

        Raises:
            Stopped, NotWarm: as `Gate.admit`.
        """
        principal = self._gate.admit(environ, names)
        with self._lock:
            view = self._views.get(principal)
            if view is not None:
                self._views.move_to_end(principal)
                return view
        tree = self._trees.of(principal)
        view = self._shown.over(WarmTree(tree) if self._warm else tree)
        with self._lock:
            self._views[principal] = view
            if len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return view

    def admit_api(self, environ: Environ) -> Principal:
        """Let a request for what is not the tree through; see `Gate.admit_api`."""
        return self._gate.admit_api(environ)

    def identify(self, environ: Mapping[str, Any]) -> Principal | None:
        """Tell who asks; `None`: it takes more than memory, or they are not who they say."""
        return self._gate.known(environ)
