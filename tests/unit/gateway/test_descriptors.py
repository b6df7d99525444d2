"""How many connections a worker may hold open."""

import resource
import socket

import pytest

from gateway.lifecycle import affordable, allow_descriptors


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


@pytest.mark.parametrize(
    ("descriptors", "one_each", "three_each"), [(64, 32, 10), (1024, 512, 170), (4096, 3584, 1194), (9000, 4096, 2829)]
)
def test_connections_leave_descriptors_to_the_store(descriptors: int, one_each: int, three_each: int) -> None:
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, was[1]))
    try:
        assert affordable(4096, each=1) == one_each
        assert affordable(4096, each=3) == three_each
        assert affordable(3, each=3) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)
