"""How many connections a worker may hold open."""

import resource
import socket

from gateway.lifecycle import allow_descriptors


def test_a_worker_may_open_as_many_descriptors_as_the_system_lets_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + 1, before[1]))
        try:
            allow_descriptors()
            after = resource.getrlimit(resource.RLIMIT_NOFILE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert after == (before[1], before[1])
