"""A gateway with --portmap, asked by rpcinfo, showmount and libnfs, beside a real rpcbind, and mounted by the kernel.

Everything runs in a network namespace, where port 111 is free whatever the machine runs.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfs.wire import portmap as p
from nfs.wire.mount3 import MOUNT_PROGRAM
from nfs.wire.nfs3types import NFS_PROGRAM
from nfs.wire.nlm4 import NLM_PROGRAM
from tests.interop.nfs.portmapped import NFS_ADDRESS, published, rpcbind, serve
from tests.interop.serve.gateways import DEADLINE_S, Place
from tests.support.netns import PATH, Namespace, namespace, needs_namespace

TOOLS = ("rpcinfo", "showmount", "rpcbind", "nfs-ls")
SERVED = {(str(NFS_PROGRAM), "3"), (str(MOUNT_PROGRAM), "3"), (str(NLM_PROGRAM), "4")}

pytestmark = [
    pytest.mark.interop,
    needs_namespace,
    pytest.mark.skipif(
        not all(shutil.which(tool, path=PATH) for tool in TOOLS),
        reason="needs apt-get install rpcbind nfs-common libnfs-utils",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return published(tmp_path_factory.mktemp("portmap"))


@pytest.fixture
def network() -> Iterator[Namespace]:
    with namespace() as network:
        yield network


def listed(network: Namespace, host: str = "127.0.0.1") -> set[tuple[str, ...]]:
    """Return what `rpcinfo -p` lists beside the portmapper itself: program, version, protocol, port."""
    done = network.run("rpcinfo", "-p", host)
    assert done.returncode == 0, done.stderr
    lines = [tuple(line.split()[:4]) for line in done.stdout.splitlines()[1:]]
    return {line for line in lines if line[0] != str(p.PORTMAP_PROGRAM)}


def ask(network: Namespace, *program: str) -> str:
    """Run a program that has to succeed; return its output."""
    done = network.run(*program)
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
    return done.stdout


def ours(port: str) -> set[tuple[str, ...]]:
    return {(*program, "tcp", port) for program in SERVED}


# The portmapper that is built in


def test_rpcinfo_and_showmount_find_everything(place: Place, network: Namespace) -> None:
    with serve(place, network) as gateway:
        assert gateway.ready == f"ready nfs={NFS_ADDRESS} portmap=127.0.0.1:111"
        host = "127.0.0.1"
        assert listed(network) == ours("20490")
        own = ask(network, "rpcinfo", "-p", host)
        assert [
            own.count(f"100000    {vers}   {prot}    111  portmapper") for vers in (2, 3, 4) for prot in ("tcp", "udp")
        ] == [1] * 6
        assert f"{NFS_PROGRAM}    3    tcp       127.0.0.1.80.10" in ask(network, "rpcinfo", host)
        assert "100000  2,3,4" in ask(network, "rpcinfo", "-s", host)
        assert "127.0.0.1.80.10" in ask(network, "rpcinfo", "-l", host, str(NLM_PROGRAM), "4")
        assert "RPCBIND (version 4) statistics" in ask(network, "rpcinfo", "-m", host)
        for program, version in SERVED:
            answer = f"program {program} version {version} ready and waiting\n"
            assert ask(network, "rpcinfo", "-T", "tcp", host, program, version) == answer
            assert ask(network, "rpcinfo", "-T", "tcp", host, program) == answer  # by the mismatch of version 0
            assert ask(network, "rpcinfo", "-t", host, program, version) == answer
            assert network.run("rpcinfo", "-T", "udp", host, program, version).returncode == 1
        for way in (("-T", "udp"), ("-T", "tcp"), ("-u",), ("-t",)):
            for version in ("2", "3", "4"):
                answer = f"program 100000 version {version} ready and waiting\n"
                assert ask(network, "rpcinfo", *way, host, "100000", version) == answer
        assert ask(network, "showmount", "-e", host).splitlines()[1:] == ["/     (everyone)", "/maps (everyone)"]
        assert "latest" in ask(network, "nfs-ls", f"nfs://{host}/maps")
        assert ask(network, "showmount", "-a", host) == f"All mount points on {host}:\n{host}:/maps\n"
        assert gateway.stop() == 0
        assert network.run("rpcinfo", "-p", host).returncode == 1


def test_ipv6_has_addresses_of_its_own(place: Place, network: Namespace) -> None:
    with serve(place, network, "--insecure", nfs="[::]:2049") as gateway:
        assert gateway.ready == "ready nfs=[::]:2049 portmap=[::]:111"
        for host, netid in (("127.0.0.1", "tcp"), ("::1", "tcp6")):
            assert f"/{netid[:3]}/" in ask(network, "rpcinfo", "-l", host, str(NFS_PROGRAM), "3")
            assert f"{host}.8.1" in ask(network, "rpcinfo", "-l", host, str(NFS_PROGRAM), "3")
            answer = f"program {NFS_PROGRAM} version 3 ready and waiting\n"
            assert ask(network, "rpcinfo", "-T", netid, host, str(NFS_PROGRAM), "3") == answer


def test_a_dead_portmapper_is_replaced_without_losing_datagrams(place: Place, network: Namespace) -> None:
    with serve(place, network) as gateway:
        children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
        victims = [child for child in children if _sockets(child) & _sockets_of_port_111(network)]
        assert len(victims) == 1
        os.kill(int(victims[0]), signal.SIGSTOP)
        with subprocess.Popen(
            network.inside(["rpcinfo", "-u", "127.0.0.1", "100000", "2"]), stdout=subprocess.PIPE, text=True
        ) as asking:
            time.sleep(0.2)  # its datagram waits in the socket that the supervisor holds too
            os.kill(int(victims[0]), signal.SIGKILL)
            out, _ = asking.communicate(timeout=DEADLINE_S)
        assert out == "program 100000 version 2 ready and waiting\n"
        assert listed(network) == ours("20490")


def _sockets(pid: str) -> set[str]:
    return {os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}


def _sockets_of_port_111(network: Namespace) -> set[str]:
    table = ask(network, "cat", "/proc/net/udp").splitlines()[1:]
    return {f"socket:[{line.split()[9]}]" for line in table if line.split()[1].endswith(":006F")}


def test_without_the_right_to_port_111_it_says_what_to_do(place: Place, network: Namespace) -> None:
    drop = ("setpriv", "--bounding-set=-net_bind_service")
    with pytest.raises(AssertionError) as raised, serve(place, network, prefix=drop):
        pass
    said = str(raised.value)
    assert said.startswith("exit 1: aetherfs: portmap: 127.0.0.1:111 needs root or CAP_NET_BIND_SERVICE")
    for advice in ("AmbientCapabilities=CAP_NET_BIND_SERVICE", "setcap cap_net_bind_service=+ep /", "mountport=20490"):
        assert advice in said


def test_the_port_111_of_another_gateway_is_exit_1(place: Place, network: Namespace) -> None:
    with (
        serve(place, network),
        pytest.raises(
            AssertionError, match=r"exit 1: .*127\.0\.0\.1:111 is already in use, and rpcbind names another server"
        ),
        serve(place, network, nfs="127.0.0.1:0"),
    ):
        pass


# Beside a running rpcbind


@pytest.mark.parametrize("by_socket", [True, False], ids=["unix", "loopback"])
def test_a_running_rpcbind_is_told_and_forgets_when_told(place: Place, network: Namespace, by_socket: bool) -> None:
    with rpcbind(network):
        if not by_socket:
            ask(network, "rm", "/run/rpcbind.sock")
        with serve(place, network) as gateway:
            assert gateway.ready == f"ready nfs={NFS_ADDRESS} portmap=rpcbind"
            assert listed(network) == ours("20490")
            assert ask(network, "showmount", "-e", "127.0.0.1").splitlines()[1:] == [
                "/     (everyone)",
                "/maps (everyone)",
            ]
            assert "latest" in ask(network, "nfs-ls", "nfs://127.0.0.1/maps")
            assert gateway.stop() == 0
            assert gateway.process.stderr is not None
            assert gateway.process.stderr.read().count("registered with the rpcbind that runs here") == 1
        assert listed(network) == set()


def test_what_a_killed_gateway_left_is_taken_over_and_removed(place: Place, network: Namespace) -> None:
    with rpcbind(network):
        with serve(place, network) as gateway:
            gateway.kill()
        assert listed(network) == ours("20490")
        for nfs in ("127.0.0.1:20490", "127.0.0.1:20491"):  # at the same address, and at another
            with serve(place, network, nfs=nfs) as gateway:
                assert listed(network) == ours(nfs.rpartition(":")[2])
                if nfs.endswith("0"):
                    gateway.kill()
                else:
                    assert gateway.stop() == 0
        assert listed(network) == set()


def test_a_server_that_lives_keeps_its_registration(place: Place, network: Namespace) -> None:
    with rpcbind(network), serve(place, network):
        with (
            pytest.raises(AssertionError, match=r"exit 1: .*rpcbind names another server for program 100003 version 3"),
            serve(place, network, nfs="127.0.0.1:20491"),
        ):
            pass
        assert listed(network) == ours("20490")


def test_an_rpcbind_that_was_started_anew_is_told_again(place: Place, network: Namespace) -> None:
    with contextlib.ExitStack() as running:
        with rpcbind(network):
            gateway = running.enter_context(serve(place, network))
        running.enter_context(rpcbind(network))
        assert listed(network) == set()
        give_up = time.monotonic() + DEADLINE_S
        while listed(network) != ours("20490") and time.monotonic() < give_up:
            time.sleep(0.5)
        assert listed(network) == ours("20490")
        assert gateway.stop() == 0
        assert listed(network) == set()
