"""The world of the matrix, made once."""

from collections.abc import Iterator

import pytest

from tests.interop.access.world import World, world
from tests.support.s3 import S3Server, new_place


@pytest.fixture(scope="package")
def matrix(moto: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as environment:
        place = new_place(moto, environment)
        with world(tmp_path_factory.mktemp("matrix"), place.address, policy="store", nfs=True, grpc=True) as found:
            yield found
