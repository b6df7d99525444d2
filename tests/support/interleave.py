"""Runs several programs on one object store, one request at a time, in every order there is.

A program is real code that is given an object store. What it asks next depends only on what it was answered, so all
that it can do is a tree: a node is a request, an edge an answer. The tree grows as it is needed, by running the real
code up to a node with the answers that lead there, and on from there alone; every request that was seen once is never
run again. `explore` then goes through the states of the whole: the objects in the store, the node that each program has
reached, the clock, and requests that are still on their way. Besides answering a program it may, at every write,

- kill the program, the write lost, or on its way and to arrive at any later time (a DELETE before the clock moves);
- let the clock move by one tick, as often as it is allowed.

Three things keep it short. A state is left alone when it was seen before (stores are compared by 128-bit digests). A
request that nothing which the others can still do meets, where two meet when they touch one key (or a listing with it)
and not both only read, is answered at once instead of before and after every step of the others: the order makes no
difference. What the others can still do is read off their trees; as these grow while states are explored, the whole is
explored again until nothing has been added, so that each such decision holds for all that was ever seen. And the clock
moves only where a program waits for it, or may leave a DELETE on its way: programs see the time in no way but by
waiting until something is old enough, so what can happen with an earlier tick can happen with one that comes as late.

The store is `MemoryStore`. ETags go by content, as on S3, and only objects below `pushes/` have a time. The clock
counts ticks. Programs that are not told the time see it stand still: then nothing that they do can rest on it.
Everything runs in the caller's thread: pools of threads are replaced, and random bytes are drawn from a sequence of
each program's own.
"""

import contextlib
import functools
import hashlib
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pytest

from store import commit
from store.errors import StoreError
from store.layout import PUSHES
from store.objects.base import Buffer, Fetched, ObjectInfo
from store.objects.memory import MemoryStore, _Held
from store.push import unchanged

START_NS: Final = 1_500_000_000_000_000_000
TICK_NS: Final = 1_000_000_000
WRITES: Final = frozenset({"put", "put_if", "delete"})

Objects = dict[str, _Held]
Ready = Callable[["Snapshot"], bool]


class Violation(AssertionError):
    """An order that ends where nothing may end."""


class Killed(BaseException):
    """The program is killed at this request. What it still tries to do on its way out never happens."""


class _Stop(BaseException):
    """Nothing more can be learnt of a program for now."""


class Request(NamedTuple):
    """One thing that a program asks of the store."""

    method: str
    key: str = ""  # or prefix
    data: bytes = b""
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.key[:28]}"


class Answer(NamedTuple):
    """What the store told a program."""

    value: Any = None
    error: StoreError | None = None
    killed: bool = False

    @property
    def told(self) -> object:
        """Return what two equal answers have in common."""
        return (type(self.error), str(self.error)) if self.error else (self.value, self.killed)


class Snapshot(MemoryStore):
    """The objects of one state."""

    def __init__(self, objects: Objects, tick: int) -> None:
        super().__init__(clock=lambda: START_NS + self.tick * TICK_NS)
        self.tick = tick
        self._objects = objects

    def _write(self, key: str, data: bytes) -> str:
        held = _Held(data, _etag(data), self._clock() if key.startswith(PUSHES) else 0)
        self._objects[key] = held
        return held.etag

    @property
    def objects(self) -> Objects:
        """Return the table itself."""
        return self._objects

    def answer(self, request: Request, ready: Ready | None = None) -> Answer | None:
        """Carry a request out; `None`: it has to wait."""
        try:
            match request.method:
                case "wait":
                    assert ready is not None
                    return Answer() if ready(self) else None
                case "now_ns":
                    return Answer(self.now_ns())
                case "put" | "put_if":
                    return Answer(getattr(self, request.method)(request.key, request.data, **dict(request.options)))
                case "list":
                    return Answer(tuple(sorted(self.list(request.key, **dict(request.options)))))
                case method:
                    return Answer(getattr(self, method)(request.key, **dict(request.options)))
        except StoreError as error:
            return Answer(error=error)


@functools.cache
def _etag(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


@functools.cache
def _number(key: str, etag: str, modified_ns: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{key} {etag} {modified_ns}".encode(), digest_size=16).digest(), "big")


def _sum(objects: Objects) -> int:
    return sum(_number(key, held.etag, held.modified_ns) for key, held in objects.items()) % (1 << 128)


@dataclass(slots=True)
class Touched:
    """What requests meet."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)

    def add(self, request: Request) -> bool:
        """Add what a request touches; false where it was known."""
        kind = self.writes if request.method in WRITES else self.reads
        keys = self.lists if request.method in ("list", "wait") else kind
        if request.key in keys:
            return False
        keys.add(request.key)
        return True

    def meets(self, request: Request) -> bool:
        """Tell whether the order of a request and of these makes a difference."""
        key = request.key
        if request.method in ("list", "wait"):
            return any(written.startswith(key) for written in self.writes)
        if request.method in WRITES:
            return key in self.reads or key in self.writes or any(key.startswith(prefix) for prefix in self.lists)
        return key in self.writes


class Node:
    """How far a program has got: all that it was answered."""

    __slots__ = ("answer", "children", "future", "kills", "outcome", "parent", "ready", "request")

    def __init__(self, parent: "Node | None" = None, answer: Answer | None = None) -> None:
        self.parent, self.answer = parent, answer
        self.request: Request | None = None  # what it asks next; None: it has ended
        self.ready: Ready | None = None
        self.outcome: object = None  # what it returned, or the `StoreError` that it raised
        self.children: dict[object, Node] = {}
        self.future = Touched()  # by it and all nodes below
        self.kills: int = (parent.kills if parent else 0) + (answer is not None and answer.killed)


class Program:
    """Real code, and the tree of all that it was seen to do."""

    def __init__(
        self, name: str, body: Callable[["Steps"], object], *, kills: int = 0, told_time: bool = False
    ) -> None:
        """Nothing runs yet.

        Args:
            name: for people, and for its random bytes.
            body: asks nothing but of the store that it is given, in one thread, and depends on its answers alone. May
                catch `Killed`, call `revive` and begin anew.
            kills: how often it may be killed.
            told_time: whether its store's clock is the true one.
        """
        self.name, self.body, self.kills, self.told_time = name, body, kills, told_time
        self.root: Node | None = None
        self.runs = 0  # of the real code
        self.learnt = 0  # requests that added to what some node can still meet

    def start(self, store: Snapshot) -> Node:
        """Return where it begins."""
        if self.root is None:
            self.root = Node()
            self._learn(self.root, store)
        return self.root

    def follow(self, node: Node, answer: Answer, store: Snapshot) -> Node:
        """Return where an answer leads; `store` is as it is after that."""
        told = answer.told
        child = node.children.get(told)
        if child is None:
            child = node.children[told] = Node(node, answer)
            self._learn(child, store)
        return child

    def _learn(self, node: Node, store: Snapshot) -> None:
        """Run the real code up to a new node, and on alone, on a copy of the store."""
        self.runs += 1
        path = [node]
        while (parent := path[-1].parent) is not None:
            path.append(parent)
        steps = Steps(self, path[::-1], Snapshot(dict(store.objects), store.tick))
        with _drawing(self.name):
            try:
                outcome = self.body(steps)
            except StoreError as error:
                outcome = error
            except _Stop:
                return
            except Killed:
                outcome = "killed"
        steps.node.outcome = outcome

    def touch(self, node: Node, request: Request) -> None:
        """Note what a new node's request meets, there and above."""
        above: Node | None = node
        while above is not None and above.future.add(request):
            self.learnt += 1
            above = above.parent


class Steps:
    """The store as a program sees it."""

    address = "memory:"

    def __init__(self, program: Program, path: Sequence[Node], alone: Snapshot) -> None:
        self._program, self._path, self._alone = program, path, alone
        self._at = 0
        self._dead = False
        self.node = path[0]

    def revive(self) -> None:
        """Begin anew, after `Killed`."""
        self._dead = False

    def wait(self, prefix: str, ready: Ready) -> None:
        """Go on only once `ready`, which looks at nothing but the clock and what is below `prefix`."""
        self._ask(Request("wait", prefix), ready)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        return bytes(self._ask(Request("get", key, b"", (("offset", offset), ("size", size)))))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        data, whole = self._ask(Request("tail", key, b"", (("size", size),)))
        return data, whole

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        found: Fetched | None = self._ask(Request("fetch", key, b"", (("unless", unless),)))
        return found

    def head(self, key: str) -> ObjectInfo:
        info: ObjectInfo = self._ask(Request("head", key))
        return info

    def put(self, key: str, data: Buffer) -> str:
        return str(self._ask(Request("put", key, bytes(data))))

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        return str(self._ask(Request("put_if", key, bytes(data), (("match", match),))))

    def delete(self, key: str) -> None:
        self._ask(Request("delete", key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        return iter(self._ask(Request("list", prefix, b"", (("after", after),))))

    def now_ns(self) -> int:
        return int(self._ask(Request("now_ns"))) if self._program.told_time else START_NS

    def close(self) -> None:
        """Nothing to close."""

    def _ask(self, request: Request, ready: Ready | None = None) -> Any:
        if self._dead:
            raise Killed
        node = self.node
        if node.request is None:
            node.request, node.ready = request, ready
            self._program.touch(node, request)
        assert node.request == request, f"{self._program.name} asks {request} where it asked {node.request} before"
        self._at += 1
        if self._at < len(self._path):
            self.node = self._path[self._at]
            answer = self.node.answer
        else:
            answer = self._alone.answer(request, ready)
            if answer is None:
                raise _Stop
            self.node = node.children[answer.told] = Node(node, answer)
        assert answer is not None
        if answer.killed:
            self._dead = True
            raise Killed
        if answer.error:
            raise answer.error.with_traceback(None)
        return answer.value


class State(NamedTuple):
    """All that matters for what may come."""

    objects: Objects
    total: int  # digest of the objects
    nodes: tuple[Node, ...]
    tick: int
    flying: tuple[tuple[str, Request], ...]  # writes on their way, of programs that were killed, and whose

    def store(self) -> Snapshot:
        """Return the store as it stands; changes go to a copy."""
        return Snapshot(dict(self.objects), self.tick)


class Trace(NamedTuple):
    """How a state was reached."""

    before: "Trace | None"
    step: str

    def __str__(self) -> str:
        steps = []
        trace: Trace | None = self
        while trace is not None:
            steps.append(trace.step)
            trace = trace.before
        return "\n".join(reversed(steps))


Check = Callable[[State], None]


class Explored(NamedTuple):
    """How large it was."""

    states: int
    orders: int  # ways through them from the first to a last one


class Interleaving:
    """Several programs on one store."""

    def __init__(
        self, store: Snapshot, programs: Sequence[Program], *, always: Check, finally_: Check, ticks: int = 0
    ) -> None:
        """Start nothing yet.

        Args:
            store: what is there at first.
            programs: each with a name of its own.
            always: holds a state against what must be in every one; looks at nothing but its objects.
            finally_: the same for states after which nothing can happen any more; looks at outcomes, too.
            ticks: how often the clock may move.
        """
        self.store, self.programs, self.ticks = store, programs, ticks
        self._always, self._finally = always, finally_
        self._held: set[tuple[object, ...]] = set()  # what was checked already

    def explore(self) -> Explored:
        """Go through all states; raise `Violation` with the order that leads to a bad one."""
        with _deterministic():
            while True:
                before = sum(program.learnt for program in self.programs)
                explored = self._explore()
                if sum(program.learnt for program in self.programs) == before:
                    return explored

    def _explore(self) -> Explored:
        nodes = tuple(program.start(self.store) for program in self.programs)
        first = State(self.store.objects, _sum(self.store.objects), nodes, 0, ())
        waiting: list[tuple[State, Trace]] = [(first, Trace(None, "start"))]
        seen: set[tuple[object, ...]] = {self._digest(first)}
        edges: list[tuple[object, object]] = []
        while waiting:
            state, trace = waiting.pop()
            self._hold(self._always, state, trace, (state.total,))
            found = self._next(state)
            if not found:
                self._hold(self._finally, state, trace, (state.total, *(str(node.outcome) for node in state.nodes)))
            own = self._digest(state)
            for step, after in found:
                digest = self._digest(after)
                edges.append((own, digest))
                if digest not in seen:
                    seen.add(digest)
                    waiting.append((after, Trace(trace, step)))
        return Explored(len(seen), _orders(self._digest(first), edges))

    def _hold(self, check: Check, state: State, trace: Trace, what: tuple[object, ...]) -> None:
        if what in self._held:
            return
        self._held.add(what)
        try:
            check(state)
        except (AssertionError, StoreError) as error:
            ends = {program.name: node.outcome for program, node in zip(self.programs, state.nodes, strict=True)}
            raise Violation(f"{error!r}; outcomes {ends}; after\n{trace}") from error

    @staticmethod
    def _digest(state: State) -> tuple[object, ...]:
        return state.total, state.nodes, state.tick, frozenset(state.flying)

    def _next(self, state: State) -> list[tuple[str, State]]:
        found: list[tuple[str, State]] = []
        for number, node in enumerate(state.nodes):
            own = self._steps(state, number)
            if own and not self._meets(state, number, node):
                return own
            found += own
        for number, (name, request) in enumerate(state.flying):
            store = state.store()
            store.answer(request)
            rest = state.flying[:number] + state.flying[number + 1 :]
            after = State(store.objects, self._total(state, store, request), state.nodes, state.tick, rest)
            found.append((f"{name}'s {request} arrives", after))
        if self._may_tick(state):
            found.append(("a tick", state._replace(tick=state.tick + 1)))
        return found

    def _may_tick(self, state: State) -> bool:
        """Tell whether time may pass, and needs to."""
        if state.tick == self.ticks or any(request.method == "delete" for _, request in state.flying):
            return False
        store = Snapshot(state.objects, state.tick)
        for program, node in zip(self.programs, state.nodes, strict=True):
            if node.request is not None:
                if node.request.method == "wait" and store.answer(node.request, node.ready) is None:
                    return True
                if node.request.method == "delete" and node.kills < program.kills:
                    return True
        return False

    def _meets(self, state: State, number: int, node: Node) -> bool:
        """Tell whether the order of a program's next step and of all else that can still happen makes a difference."""
        request = node.request
        assert request is not None
        return any(other.future.meets(request) for n, other in enumerate(state.nodes) if n != number) or any(
            _meet(request, flying) for _, flying in state.flying
        )

    def _steps(self, state: State, number: int) -> list[tuple[str, State]]:
        """Return what can come of a program's next request."""
        program, node = self.programs[number], state.nodes[number]
        request = node.request
        if request is None:
            return []
        writes = request.method in WRITES
        store = state.store() if writes else Snapshot(state.objects, state.tick)
        answer = store.answer(request, node.ready)
        if answer is None:
            return []
        total = self._total(state, store, request) if writes else state.total
        label = f"{program.name}: {request}" + (f" -> {type(answer.error).__name__}" if answer.error else "")
        found = [(label, self._moved(state, number, answer, store.objects, total, state.flying))]
        if writes and node.kills < program.kills:
            killed = Answer(killed=True)
            for label, flying in (
                (f"{program.name} is killed instead of {request}", state.flying),
                (f"{program.name} is killed with {request} on its way", (*state.flying, (program.name, request))),
            ):
                found.append((label, self._moved(state, number, killed, state.objects, state.total, flying)))
        return found

    def _moved(
        self, state: State, number: int, answer: Answer, objects: Objects, total: int,
        flying: tuple[tuple[str, Request], ...],
    ) -> State:  # fmt: skip
        node = self.programs[number].follow(state.nodes[number], answer, Snapshot(objects, state.tick))
        nodes = (*state.nodes[:number], node, *state.nodes[number + 1 :])
        return State(objects, total, nodes, state.tick, flying)

    @staticmethod
    def _total(state: State, store: Snapshot, request: Request) -> int:
        before, after = state.objects.get(request.key), store.objects.get(request.key)
        total = state.total
        if before is not None:
            total -= _number(request.key, before.etag, before.modified_ns)
        if after is not None:
            total += _number(request.key, after.etag, after.modified_ns)
        return total % (1 << 128)


def _orders(first: object, edges: Sequence[tuple[object, object]]) -> int:
    """Count the ways from the first state to those from which no edge leads on; there are no circles."""
    after: dict[object, list[object]] = {}
    before: Counter[object] = Counter()
    for start, end in edges:
        after.setdefault(start, []).append(end)
        before[end] += 1
    ways: Counter[object] = Counter({first: 1})
    ready, orders = [first], 0
    while ready:
        state = ready.pop()
        for end in after.get(state, ()):
            ways[end] += ways[state]
            before[end] -= 1
            if not before[end]:
                ready.append(end)
        if state not in after:
            orders += ways[state]
        del ways[state]
    return orders


def _meet(one: Request, other: Request) -> bool:
    touched = Touched()
    touched.add(other)
    return touched.meets(one)


class _AtOnce:
    """A pool of threads that has none."""

    def __init__(self, *args: object, **named: object) -> None:
        pass

    def submit(self, call: Callable[..., Any], *args: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **named))
        except BaseException as error:  # as a pool does; `Killed` reaches the program so
            future.set_exception(error)
        return future

    def map(self, call: Callable[..., Any], *several: Any) -> Iterator[Any]:
        return map(call, *several)

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        pass

    def __enter__(self) -> "_AtOnce":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """No threads in the store's code, no pauses, no look at the local clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("store.") and hasattr(module, "ThreadPoolExecutor"):
                patch.setattr(module, "ThreadPoolExecutor", _AtOnce)
        patch.setattr(commit, "_FIRST_PAUSE_S", 0.0)
        patch.setattr(unchanged, "SETTLED_NS", 0)
        yield


@contextlib.contextmanager
def _drawing(name: str) -> Iterator[None]:
    """Draw the random bytes of one run from a sequence of its own."""
    drawn = random.Random(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", drawn.randbytes)
        patch.setattr(random, "_urandom", drawn.randbytes)
        yield
