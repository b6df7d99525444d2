"""One whole gateway for all tests of a process, and a relay in front of it for each test."""

from collections.abc import Iterator

import pytest

from tests.interop.dav.shown import PUBLISHED
from tests.interop.serve.gateways import Gateway, Place
from tests.support.relay import Relay
from tests.support.trees import lay_out


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway over a folder, with everything published by the command."""
    above = tmp_path_factory.mktemp("dav")
    place = Place(str(above / "store"), above / "home")
    place.run("init")
    for number, (reference, contents) in enumerate(PUBLISHED.items()):
        folder = above / str(number)
        folder.mkdir()
        lay_out(contents, folder)
        place.run("push", folder, "-t", reference)
    with place.serve("--workers", "2", nfs="off") as gateway:
        # Nobody reads its log while it runs; what does not fit into the pipe would stop it.
        yield gateway
        assert gateway.stop() == 0
        assert gateway.process.stderr is not None
        assert gateway.process.stderr.read() == ""


@pytest.fixture
def relay(gateway: Gateway) -> Iterator[Relay]:
    """Counts what the client of one test asks of the gateway."""
    with Relay(gateway.http) as relay:
        yield relay
