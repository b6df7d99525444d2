"""The gate, and behind it for each principal the applications over what it may see.

A principal's tree and applications are made when it comes first and kept for as long as others do not crowd them out.
Any thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from auth.principal import ANONYMOUS, Principal
from dav.reply import Environ
from dav.warm import WarmTree
from gateway.access.gate import Gate
from gateway.access.trees import Trees
from gateway.web.app import Shown, show

VIEWS: Final = 256  # principals whose applications are kept


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
