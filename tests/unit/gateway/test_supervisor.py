"""The supervisor and its workers as real processes, over a tiny echo server on loopback."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.config import Address
from gateway.lifecycle import ServeError, bound, listen

PROJECT = Path(__file__).parents[3]
DEADLINE_S = 30.0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: looks into /proc")


class Running:
    """A supervisor that has said that it is ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        word, _, place = process.stdout.readline().strip().partition(" ")
        assert word == "ready"
        host, _, port = place.rpartition(":")
        self.address = Address(host, int(port))

    def connect(self, word: str) -> socket.socket:
        peer = socket.create_connection(self.address, timeout=DEADLINE_S)
        peer.sendall(word.encode())
        return peer

    def ask(self, word: str = "pid") -> tuple[int, int, float]:
        with self.connect(word) as peer:
            return answer(peer)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def answer(peer: socket.socket) -> tuple[int, int, float]:
    text = b"".join(iter(lambda: peer.recv(100), b"")).decode()
    pid, parent, interval = text.split()
    return int(pid), int(parent), float(interval)


Start = Callable[..., Running]
Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    processes: list[subprocess.Popen[str]] = []

    def launch(entry: str, address: str = "127.0.0.1:0", workers: int = 1, drain_s: int = 10) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "tests.unit.gateway.supervisor_program"]
        process = subprocess.Popen(
            [*program, entry, address, str(workers), str(tmp_path), str(drain_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
        )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def start(launch: Launch) -> Start:
    return lambda *arguments, **named: Running(launch(*arguments, **named))


def until(pid: int, states: str) -> None:
    """Wait until every thread of a process is in one of the states of /proc/PID/stat; a gone process is in state Z."""
    give_up = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up:
        try:
            stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            stats = ["0 (gone) Z"]
        if all(stat.rpartition(") ")[2][0] in states for stat in stats):
            return
    pytest.fail(f"process {pid} did not come to {states}")


def test_workers_are_processes_of_their_own_with_a_short_switch_interval(start: Start) -> None:
    running = start("echo")
    pid, parent, interval = running.ask()
    assert parent == running.process.pid
    assert pid != parent
    assert interval == pytest.approx(0.0002)


def test_a_stop_lets_requests_in_flight_finish_and_exits_0(start: Start) -> None:
    running = start("echo")
    with running.connect("hold") as peer:
        assert peer.recv(5) == b"held "
        assert running.stop() == 0
        assert answer(peer)[1] == running.process.pid


def test_an_interrupt_is_a_stop_too(start: Start) -> None:
    running = start("echo")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(DEADLINE_S) == 0


def test_a_stop_does_not_wait_for_ever(start: Start) -> None:
    running = start("stuck", drain_s=0)
    assert running.stop() == 0
    assert running.process.stderr is not None
    assert "cut off" in running.process.stderr.read()


def test_after_a_stop_nothing_listens(start: Start) -> None:
    running = start("echo")
    assert running.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(running.address)


@LINUX
def test_a_dead_worker_is_replaced_and_connections_wait_for_the_next(start: Start) -> None:
    running = start("echo")
    first, _, _ = running.ask()
    os.kill(first, signal.SIGSTOP)
    until(first, "T")  # nothing accepts now, so that what follows waits in the kernel's queue
    with running.connect("pid") as waiting:
        os.kill(first, signal.SIGKILL)
        second, parent, _ = answer(waiting)
    assert second != first
    assert parent == running.process.pid
    assert running.stop() == 0


def test_a_worker_that_cannot_start_again_is_tried_until_it_can(start: Start) -> None:
    running = start("once")
    with contextlib.suppress(ConnectionError), running.connect("die") as peer:
        peer.recv(1)
    pid, parent, _ = running.ask()
    assert pid
    assert parent == running.process.pid
    assert running.stop() == 0
    assert running.process.stderr is not None
    assert running.process.stderr.read().count("store s3://bucket cannot be reached: no answer") == 2


@LINUX
def test_a_dead_worker_is_replaced_once_the_system_has_room_for_another(start: Start) -> None:
    running = start("echo")
    before = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with contextlib.suppress(ConnectionError), running.connect("die") as peer:
        peer.recv(1)
    assert running.process.stderr is not None
    lines = iter(running.process.stderr.readline, "")
    assert any("cannot be started" in line for line in lines)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, before)
    assert running.ask()[1] == running.process.pid
    assert running.stop() == 0


def test_one_of_several_workers_dying_leaves_the_others_serving(start: Start) -> None:
    running = start("echo", workers=2)
    with contextlib.suppress(ConnectionError), running.connect("die") as peer:
        peer.recv(1)
    assert running.ask()[1] == running.process.pid
    assert running.stop() == 0


@LINUX
def test_what_a_worker_tells_is_heard_by_the_others_even_by_those_that_came_later(start: Start) -> None:
    running = start("echo", workers=3)

    def heard() -> dict[str, str]:
        found: dict[str, str] = {}
        give_up = time.monotonic() + DEADLINE_S
        while len(found) < 3 and time.monotonic() < give_up:
            with running.connect("heard") as peer:
                pid, _, words = b"".join(iter(lambda: peer.recv(100), b"")).decode().partition(" ")
                found[pid] = words
        return found

    def told(word: str) -> None:
        assert len(heard()) == 3  # all are there
        with running.connect(f"tell {word}") as peer:
            teller = str(answer(peer)[0])
        give_up = time.monotonic() + DEADLINE_S
        while time.monotonic() < give_up:
            words = heard()
            if sorted(word in said.split(",") for said in words.values()) == [False, True, True]:
                assert word not in words[teller].split(",")
                return
        pytest.fail(f"{word} was heard by {words}")

    told("first")
    with running.connect("die") as peer:
        assert peer.recv(100) == b""
    told("second")


def test_workers_end_with_a_killed_supervisor_and_the_port_is_free_at_once(start: Start) -> None:
    running = start("echo", workers=2)
    worker, _, _ = running.ask()
    running.process.kill()
    running.process.wait(DEADLINE_S)
    again = start("echo", str(running.address))
    assert again.address == running.address
    assert again.ask()[1] == again.process.pid
    until(worker, "Z")


def test_a_worker_that_cannot_start_at_first_ends_the_supervisor_with_its_reason_and_code(launch: Launch) -> None:
    process = launch("unreachable")
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (7, "")
    assert err == "store s3://bucket cannot be reached: no answer\n"


def test_a_worker_that_never_gets_ready_is_not_waited_for(launch: Launch) -> None:
    process = launch("silent")
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (1, "")
    assert err == "echo-0 was not ready after 1 s\n"


def test_a_mistake_of_ours_ends_the_supervisor_with_1_and_is_logged(launch: Launch) -> None:
    process = launch("broken")
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert err.endswith("RuntimeError: a mistake of ours\n")


def test_an_address_in_use_is_refused_by_name(start: Start, launch: Launch) -> None:
    running = start("echo")
    process = launch("echo", str(running.address))
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert f"echo: address {running.address} is already in use" in err


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ServeError, match=r"http: cannot listen on 192\.0\.2\.1:0"):
        listen("http", Address("192.0.2.1", 0))


def test_port_0_becomes_the_port_that_was_picked() -> None:
    with listen("http", Address("127.0.0.1", 0)) as sock:
        assert bound(sock).host == "127.0.0.1"
        assert bound(sock).port > 0


def test_two_listeners_never_share_a_port() -> None:
    with listen("http", Address("127.0.0.1", 0)) as sock, pytest.raises(ServeError, match="already in use"):
        listen("http", bound(sock), patience_s=0)
