"""What each principal may see of a store, as the policy of the moment says. Any thread."""

from typing import Protocol

from auth.policy import Policy
from auth.principal import ANONYMOUS, Action, Principal
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
    """The same without login: everybody may see all of it."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def of(self, principal: Principal) -> FileTree:
        return self._tree
