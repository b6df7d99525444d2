"""Real processes that publish, move tags, pull and read at once, each killed at random moments: nothing is ever lost.

Whoever is killed is started again. The store is a folder, or SeaweedFS behind a proxy that loses requests and answers,
delays them, cuts them and asks to come back. What is done follows from a seed, when it happens from the machine:

    CHAOS_SEED=7 CHAOS_ROUNDS=200 .venv/bin/python -m pytest -n 0 --timeout 3600 tests/faults/test_chaos.py
"""

import contextlib
import http.client
import json
import multiprocessing
import os
import random
import signal
import stat
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import pytest

import store.pack
from gateway.cli.main import run
from store.layout import PUSHES
from store.objects.address import open_objects
from tests.faults.steps import DATASET, SMALL_PACK
from tests.interop.serve.gateways import Place
from tests.support.folders import Held, held
from tests.support.proxy import Proxy, Seen, after, committed, cut, drop_request, instead, through
from tests.support.s3 import S3Place

SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
ROUNDS: Final = int(os.environ.get("CHAOS_ROUNDS", "6"))  # of each publisher
PUBLISHERS: Final = 3
KILLED: Final = -signal.SIGKILL
LONGEST_S: Final = 240.0  # for one command: a store that fails is given up after 90 s
CHANNELS: Final = ("latest", "stable", "qa")
ODDS: Final = 0.01  # of each sort of fault, for each request
ALWAYS: Final = 1 << 30

Tree = dict[bytes, Held]


def _command(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """Be one command, in a process that was forked with the program's modules imported already."""
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    store.pack.TARGET_SIZE = SMALL_PACK  # type: ignore[misc]  # a test's way to have many small packs
    code = run(arguments)
    sys.stdout.flush()
    sys.exit(code)


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])
_asking = threading.Lock()  # to start a process asks for the exit codes of all others, which each can be had once


class Ended(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    err: str


class Act(NamedTuple):
    """One commit that was asked for, known in the log by its message."""

    message: str
    tags: tuple[str, ...]
    tree: Tree | None  # of a push
    code: int
    changed: bool  # it ended with 0, and not because there was nothing to change


@dataclass
class World:
    """What all share."""

    work: Path
    address: str  # as the processes are told
    true_address: str  # past all faults
    unreachable: bool  # whether a command may find the store so
    lock: threading.Lock = field(default_factory=threading.Lock)
    acts: list[Act] = field(default_factory=list)
    versions: dict[str, Tree] = field(default_factory=dict)  # the one content that each version can have
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    publishing: int = PUBLISHERS
    served: threading.Event = field(default_factory=threading.Event)  # a gateway gave a file

    def blame(self, what: str) -> None:
        """Note what must not be; the test fails with all of it."""
        with self.lock:
            self.wrong.append(what)

    def count(self, what: str) -> int:
        with self.lock:
            self.counts[what] += 1
            return self.counts[what]

    def environment(self, who: str, address: str) -> dict[str, str]:
        """Return that of a user on a machine of their own."""
        home = self.work / "home" / who
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name == "PATH"}
        return {**kept, "HOME": str(home), "LOGNAME": who, "AETHERFS_STORE": address}

    def command(self, who: str, *words: str | Path, kill_after_s: float | None = None, direct: bool = False) -> Ended:
        """Run a command, and kill it if it takes longer; note what it must never end with."""
        said = self.work / "said" / str(self.count("commands"))
        environment = self.environment(who, self.true_address if direct else self.address)
        arguments = ([str(word) for word in words], environment, f"{said}.out", f"{said}.err")
        process = _processes.Process(target=_command, args=arguments)
        with _asking:
            process.start()
        if not wait([process.sentinel], LONGEST_S if kill_after_s is None else kill_after_s):
            process.kill()
            if kill_after_s is None:
                self.blame(f"{who}: {words} took longer than {LONGEST_S} s")
        wait([process.sentinel])
        with _asking:
            process.join()
        code = process.exitcode
        assert code is not None
        process.close()
        out, err = (
            Path(f"{said}.{end}").read_text() if Path(f"{said}.{end}").exists() else "" for end in ("out", "err")
        )
        self.count(f"{words[0]} {code}")
        if code not in (0, 3, 5, KILLED) and not (code == 7 and self.unreachable and not direct):
            self.blame(f"{who}: {words} ended with {code}: {err}")
        if "Traceback" in err:
            self.blame(f"{who}: {words} showed its insides: {err}")
        return Ended(code, out, err)


class Publisher:
    """Publishes a folder of its own, state by state, and moves tags."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number, self.who = world, number, f"publisher {number}"
        self.random = random.Random(f"{SEED} {self.who}")
        self.folder = world.work / self.who
        self.folder.mkdir()
        self.pushes = 0
        self.usual_s = 0.3  # what a command takes that nobody kills

    def round(self) -> None:
        """Do one thing, once again for as long as it is killed; the first is a push."""
        weights = (5, 2, 2, 2) if self.pushes else (1, 0, 0, 0)
        what = self.random.choices((self.push, self.tag, self.untag, self.rollback), weights)[0]
        words, tags, tree = what()
        for last in (False, False, True):
            if self.act(words, tags, tree, may_die=not last).code != KILLED:
                return

    def push(self) -> tuple[list[str | Path], list[str], Tree | None]:
        self.change()
        self.pushes += 1
        version = f"{self.number}.{self.pushes}.0"
        tags = [version, *self.random.sample(CHANNELS, self.random.randrange(2))]
        tree = held(self.folder)
        with self.world.lock:
            self.world.versions[version] = tree
        return ["push", self.folder, *(word for tag in tags for word in ("-t", f"{DATASET}:{tag}"))], tags, tree

    def tag(self) -> tuple[list[str | Path], list[str], Tree | None]:
        channel = self.random.choice(CHANNELS)
        return ["tag", f"{DATASET}:{self.version()}", f"{DATASET}:{channel}"], [channel], None

    def untag(self) -> tuple[list[str | Path], list[str], Tree | None]:
        tag = self.random.choice(["qa", self.version()])
        return ["untag", f"{DATASET}:{tag}"], [tag], None

    def rollback(self) -> tuple[list[str | Path], list[str], Tree | None]:
        channel = self.random.choice(CHANNELS)
        return ["rollback", f"{DATASET}:{channel}"], [channel], None

    def version(self) -> str:
        """Choose a version of its own, there or not."""
        return f"{self.number}.{self.random.randint(1, max(1, self.pushes))}.0"

    def change(self) -> None:
        """Change some of the folder: a new file, one that grows, one that changes inside, one that goes."""
        (self.folder / f"new {self.pushes}").write_bytes(self.random.randbytes(self.random.randrange(1, 90_000)))
        with (self.folder / "grows").open("ab") as file:
            file.write(self.random.randbytes(30_000))
        big = self.folder / "big"
        content = bytearray(big.read_bytes() if big.exists() else self.random.randbytes(400_000))
        at = self.random.randrange(len(content))
        content[at : at + 10] = self.random.randbytes(10)
        big.write_bytes(content)
        (self.folder / f"new {self.random.randrange(1, 20)}").unlink(missing_ok=True)

    def act(self, words: list[str | Path], tags: list[str], tree: Tree | None, *, may_die: bool) -> Ended:
        """Run a command that commits, with a message of its own."""
        message = f"{self.who} act {self.world.count(self.who)}"
        kill_after_s = self.random.uniform(0, 1.3) * self.usual_s if may_die and self.random.random() < 0.6 else None
        began = time.monotonic()
        ended = self.world.command(self.who, *words, "-m", message, "--json", kill_after_s=kill_after_s)
        if ended.code == 0:
            self.usual_s = time.monotonic() - began
        changed = ended.code == 0 and json.loads(ended.out).get("changed", True)
        with self.world.lock:
            self.world.acts.append(Act(message, tuple(tags), tree, ended.code, changed))
        return ended


def publish(world: World, publisher: Publisher) -> None:
    """Be one publisher."""
    try:
        publisher.round()
        world.served.wait(LONGEST_S)  # else a quick machine is done before the gateway has begun
        for _ in range(ROUNDS - 1):
            publisher.round()
    except Exception as error:  # a thread of a test may not die unheard
        world.blame(f"{publisher.who}: {error!r}")
    finally:
        with world.lock:
            world.publishing -= 1


def pull_again_and_again(world: World) -> None:
    """Follow the newest states in one folder, killed in the midst: what is shown is always one whole state."""
    chance = random.Random(f"{SEED} puller")
    dest = world.work / "puller" / "dest"
    dest.parent.mkdir()
    while world.publishing:
        with world.lock:
            known = [*world.versions]
        if not known:
            time.sleep(0.05)
            continue
        version = chance.choice(known[-6:])
        kill_after_s = chance.uniform(0, 0.8) if chance.random() < 0.5 else None
        ended = world.command("puller", "pull", f"{DATASET}:{version}", dest, kill_after_s=kill_after_s)
        if not dest.exists():
            if ended.code == 0:
                world.blame(f"pull of {version} left nothing")
            continue
        shown = held(dest)
        with world.lock:
            whole = [name for name, tree in world.versions.items() if tree == shown]
        if not whole or (ended.code == 0 and version not in whole):
            world.blame(f"pull of {version} ended with {ended.code} and shows {whole or 'a mixture'}")


def check_again_and_again(world: World) -> None:
    """Whatever the moment, the store is whole."""
    while world.publishing:
        world.command("checker", "verify")


def read_through_gateways(world: World) -> None:
    """Read versions by HTTP from a gateway that is killed now and then, and started again on the same address."""
    chance = random.Random(f"{SEED} reader")
    place = Place(world.address, world.work / "home" / "gateway")
    address = "127.0.0.1:0"
    while world.publishing:
        with place.serve(http=address, nfs="off") as gateway:
            address = gateway.http.removeprefix("http://")
            for _ in range(chance.randrange(20, 60)):
                if not world.publishing:
                    break
                read_once(world, chance, address)
            gateway.kill()


def read_once(world: World, chance: random.Random, address: str) -> None:
    with world.lock:
        known = [*world.versions.items()][-6:]
    if not known:
        time.sleep(0.05)
        return
    version, tree = chance.choice(known)
    path, entry = chance.choice([item for item in tree.items() if stat.S_ISREG(item[1].kind)])
    connection = http.client.HTTPConnection(address, timeout=LONGEST_S)
    with contextlib.closing(connection):
        connection.request("GET", f"/fs/{DATASET}/{version}/{quote(path)}")
        answer = connection.getresponse()
        body = answer.read()
    world.count(f"GET {answer.status}")
    if answer.status == 200:
        world.served.set()
    if answer.status == 200 and body != entry.content:
        world.blame(f"the gateway gave something else as {path!r} of {version}")
    if answer.status not in (200, 404) and not (answer.status == 503 and world.unreachable):
        world.blame(f"the gateway answered {answer.status} for {path!r} of {version}")


def spoil(proxy: Proxy) -> None:
    """Let some of all requests go wrong, each in one of the ways there are."""
    chance = random.Random(f"{SEED} proxy")
    lock = threading.Lock()

    def now_and_then(seen: Seen) -> bool:
        with lock:
            return chance.random() < ODDS

    slow_down = instead(503, "SlowDown", Retry_After="0")
    slowly = after(lambda: time.sleep(0.2), through)
    for action in (drop_request, committed(drop_request), slow_down, committed(slow_down), slowly, cut(50)):
        proxy.fault(action, now_and_then, times=ALWAYS)


def check_log(world: World) -> dict[str, str]:
    """Hold the log against what was asked for; return what each tag must name by it."""
    told = world.command("checker", "log", DATASET, "-n", "1000000", "--json", direct=True)
    entries = json.loads(told.out)["entries"][::-1]
    assert [entry["n"] for entry in entries] == [*range(1, len(entries) + 1)]
    assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
    written = Counter(entry["message"] for entry in entries)
    acts = {act.message: act for act in world.acts}
    assert written.keys() <= acts.keys()
    for act in acts.values():
        least, most = int(act.changed), int(act.code in (0, 7, KILLED))
        assert least <= written[act.message] <= most, act
    names: dict[str, str] = {}
    was: dict[str, list[str]] = defaultdict(list)  # tag -> all that it ever named
    trees: dict[str, Tree] = {}  # state -> what was published as it
    for entry in entries:
        state, act = entry["manifest"], acts[entry["message"]]
        assert set(entry["tags"]) <= set(act.tags)
        if act.tree is not None:
            assert trees.setdefault(state, act.tree) == act.tree
        for tag in entry["tags"]:
            if state is None:
                del names[tag]
                continue
            assert tag in CHANNELS or {*was[tag]} <= {state}, f"the version {tag} changed"
            assert entry["op"] != "rollback" or state in was[tag]
            names[tag] = state
            was[tag].append(state)
    for tag, state in names.items():
        dest = world.work / "at the end"
        assert world.command("checker", "pull", f"{DATASET}:{tag}", dest, direct=True).code == 0
        assert held(dest) == trees[state], tag
    return names


def check_end(world: World, publishers: list[Publisher]) -> None:
    """All that must hold once everybody is done and nothing fails any more."""
    names = check_log(world)
    told = json.loads(world.command("checker", "ls", DATASET, "--json", direct=True).out)
    assert {tag["tag"]: tag["manifest"] for tag in told["tags"]} == names
    assert world.command("checker", "verify", "--deep", direct=True).code == 0
    abandoned = Path(world.true_address) / ".tmp"  # of a folder alone
    for file in abandoned.glob("*"):
        os.utime(file, (0, 0))
    for publisher in publishers:
        first, again = (
            world.command(
                publisher.who,
                "push",
                publisher.folder,
                "-t",
                f"{DATASET}:{publisher.number}.0.{n}",
                "--json",
                direct=True,
            )
            for n in range(2)
        )
        assert first.code == again.code == 0
        assert json.loads(again.out)["new_bytes"] == 0
    latest = f"{DATASET}:{publishers[0].number}.0.1"
    assert world.command("puller", "pull", latest, world.work / "puller" / "dest", direct=True).code == 0
    assert os.listdir(world.work / "puller") == ["dest"]
    assert [*world.work.glob("home/*/.local/**/*.journal")] == []
    assert [*abandoned.glob("*")] == []
    objects = open_objects(world.true_address)
    heartbeats = [*objects.list(PUSHES)]
    objects.close()
    assert len(heartbeats) <= world.counts[f"push {KILLED}"] + world.counts["push 7"]
    assert processes_left(world) == []


def processes_left(world: World) -> list[bytes]:
    """Give what was started 20 s to see that it is alone; return what goes on."""
    until = time.monotonic() + 20
    while processes_of(world) and time.monotonic() < until:
        time.sleep(0.05)
    return processes_of(world)


def processes_of(world: World) -> list[bytes]:
    """Return the command lines of processes that were started for this test and go on."""
    home = f"HOME={world.work / 'home'}/".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if home in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes())
    return found


def chaos(world: World) -> None:
    """Let all loose on a store, and look at what is left."""
    (world.work / "said").mkdir()
    assert world.command("checker", "init", direct=True).code == 0
    publishers = [Publisher(world, number) for number in range(1, PUBLISHERS + 1)]
    others = (pull_again_and_again, check_again_and_again, read_through_gateways)
    threads = [threading.Thread(target=publish, args=(world, publisher)) for publisher in publishers]
    threads += [threading.Thread(target=other, args=(world,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"seed {SEED}:", dict(sorted(world.counts.items())))
    assert world.wrong == []
    assert world.counts[f"push {KILLED}"]
    assert world.counts["GET 200"]
    check_end(world, publishers)


@pytest.mark.slow
def test_killed_at_any_moment_on_a_folder_nothing_is_lost(tmp_path: Path) -> None:
    chaos(World(tmp_path, str(tmp_path / "store"), str(tmp_path / "store"), unreachable=False))


@pytest.mark.slow
@pytest.mark.s3
def test_killed_at_any_moment_on_a_store_that_fails_nothing_is_lost(tmp_path: Path, seaweed_place: S3Place) -> None:
    with Proxy(seaweed_place.server) as proxy:
        spoil(proxy)
        chaos(World(tmp_path, proxy.address(seaweed_place.address), seaweed_place.address, unreachable=True))
