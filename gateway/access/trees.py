"""What each principal may see of a store, as the policy of the moment says. Any thread."""

from typing import Protocol

from auth.patterns import fits
from auth.policy import Policy
from auth.principal import ANONYMOUS, Action, Kind, Principal
from store.vfs.storetree import StoreTree
from store.vfs.tree import FileTree
from store.vfs.visible import VisibleTree


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


class Everything:
    """The same without login: everybody may see all of it, but by a token what it was made for."""

    def __init__(self, tree: StoreTree) -> None:
        self._tree = tree

    def of(self, principal: Principal) -> FileTree:
        """Return what a principal may see."""
        if principal.kind is not Kind.TOKEN:
            return self._tree
        patterns = [grant.pattern for grant in principal.grants if Action.READ in grant.actions]

        def readable(dataset: str) -> bool:
            return any(fits(pattern, dataset) for pattern in patterns)

        return VisibleTree(self._tree, readable=readable, public=lambda _dataset: False, generation=lambda: 0)
