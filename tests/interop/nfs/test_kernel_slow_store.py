"""A store that falls silent under the Linux kernel's client: it waits and asks again, and what is warm goes on."""

import random
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from store.layout import PACKS
from tests.interop.serve.gateways import Place
from tests.support.kernel_client import MARKS, guest, heard, told
from tests.support.nfs_client import NfsClient
from tests.support.proxy import Proxy, hang, proxied
from tests.support.s3 import S3Place

pytestmark = [*MARKS, pytest.mark.s3]
PATIENCE_S = 1.0
COLD = 3_000_000


@pytest.fixture
def proxy(moto_place: S3Place) -> Iterator[Proxy]:
    with proxied(moto_place.server) as proxy:
        yield proxy


def test_a_read_from_a_silent_store_is_asked_again_until_it_answers(
    moto_place: S3Place, proxy: Proxy, tmp_path: Path
) -> None:
    content = random.Random(4).randbytes(COLD)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cold").write_bytes(content)
    (tmp_path / "data" / "warm").write_bytes(b"warm\n")
    place = Place(moto_place.address, tmp_path / "home")
    place.run("init")
    place.run("push", tmp_path / "data", "-t", "maps:1.0.0")
    behind = Place(proxy.address(moto_place.address), tmp_path / "home")
    behind.environment |= {"AETHERFS_NFS_PATIENCE": str(PATIENCE_S), "AETHERFS_CACHE_DISK": "0"}
    script = """
        mount_at /maps/1.0.0 /mnt
        ls -l /mnt > /dev/null; echo "listed"
        (sha256sum < /mnt/cold > /tmp/cold) &
        sleep 4; ls -l /mnt > /dev/null; stat /mnt/warm > /dev/null; echo "meanwhile"
        wait
        echo "cold: $(cat /tmp/cold)"
        """
    with behind.serve(http="off") as gateway, guest(tmp_path, gateway.nfs_port, script) as process:
        proxy.fault(hang, lambda seen: PACKS in seen.key, times=10**6)
        heard(process, "meanwhile")
        with NfsClient(gateway.nfs_port) as client:  # another client is answered all the while
            began_s = time.monotonic()
            client.call("NULL")
            client.attributes(client.handle("maps/1.0.0"))
            assert time.monotonic() - began_s < 60
        assert proxy.spoilt
        proxy.heal()
        assert told(process) == {"cold": f"{sha256(content).hexdigest()}  -"}
