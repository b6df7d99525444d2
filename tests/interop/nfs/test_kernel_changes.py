"""What changes under the Linux kernel's client: a channel that moves, a gateway that dies, another in its place."""

import random
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from tests.interop.serve.gateways import Gateway, Place
from tests.support.kernel_client import MARKS, guest, heard, probe, told

pytestmark = MARKS

LARGE = 24 << 20
STATES = 12
FOREVER = b"x" * 100_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    return place


def push_state(place: Place, folder: Path, number: int, *, also: str = "") -> None:
    """Publish a state whose files all tell its number."""
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    (folder / "version").write_text(f"{number}\n")
    (folder / "data").write_text(f"{number:07}\n" * 100_000)
    (folder / f"only-{number}").touch()
    if also:
        (folder / also).touch()
    place.run("push", folder, "-t", "moving:latest")


def test_a_channel_moves_under_readers_that_never_see_a_mixture(place: Place, tmp_path: Path) -> None:
    push_state(place, tmp_path / "data", 0)
    script = """
        mount_at / /mnt; mount_at / /quick ,actimeo=0; mount_at /moving/latest /channel
        exec 3< /mnt/moving/latest/data
        head -c 8000 <&3 > /dev/null
        cd /mnt/moving/latest; echo "began"
        consistent() {
            version=$(cat version); [ "$(ls | grep only)" = "only-$version" ]
            [ "$(sort -u data)" = "$(printf %07d $version)" ] && [ $(wc -l < data) = 100000 ]
        }
        set +x; seen=0; loops=0
        while [ ! -e /quick/moving/latest/end ]; do
            (cd /quick/moving/latest; consistent) || { echo "mixed: yes"; exit 1; }
            loops=$((loops + 1))
        done
        echo "loops: $([ $loops -gt 3 ] && echo several)"
        set -x
        echo "open: $(sort -u <&3)"                              # an open file goes on with its state
        echo "here: $(cat version)"; consistent                  # and so does a folder that is somebody's own
        until [ -e /mnt/moving/latest/end ]; do sleep 1; done    # attributes are cached for a minute at most
        cd /mnt/moving/latest; consistent; echo "anew: $(cat version)"; cd /
        until [ -e /channel/end ]; do sleep 1; done
        echo "channel: $(cat /channel/version) $(ls /channel | grep only) $(sort -u /channel/data)"
        """
    with place.serve(http="off") as gateway, guest(tmp_path, gateway.nfs_port, script) as process:
        heard(process, "began")
        for number in range(1, STATES + 1):
            push_state(place, tmp_path / "data", number, also="end" if number == STATES else "")
        said = told(process)
    assert said == {
        "loops": "several",
        "open": "0000000",
        "here": "0",
        "anew": f"{STATES}",
        "channel": f"{STATES} only-{STATES} {STATES:07}",
    }


def test_a_gateway_that_is_killed_and_another_in_its_place_go_unnoticed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = random.Random(3).randbytes(LARGE)
    (tmp_path / "data" / "large").write_bytes(content)
    (tmp_path / "data" / "small").write_bytes(FOREVER)
    place.run("push", tmp_path / "data", "-t", "maps:1.0.0", "-t", "maps:latest")
    elsewhere = Place(str(tmp_path / "store"), tmp_path / "another-home")
    script = """
        mount_at / /mnt; mount_at /maps/latest /channel; mount_at /maps/1.0.0 /version
        set +x
        cd /mnt/maps/latest
        for turn in 1 2; do
            $PROBE slowly /mnt/maps/1.0.0/large 100 2> /tmp/began > /tmp/read &
            until grep -q began /tmp/began; do sleep 0.1; done
            echo "reading $turn"
            wait $!
            echo "read $turn: $(sha256sum < /tmp/read)"
            echo "small $turn: $(cat small /channel/small /version/small | wc -c)"
            ls -laR /mnt > /dev/null
            mount -o remount,ro /mnt
        done
        """
    with (
        place.serve(http="off") as first,
        guest(tmp_path, first.nfs_port, script, programs=[probe(tmp_path)]) as process,
    ):
        address = f"127.0.0.1:{first.nfs_port}"
        heard(process, "reading 1")
        first.kill()
        with place.serve(http="off", nfs=address) as second:
            once = heard(process, "reading 2")
            second.kill()
            with elsewhere.serve(http="off", nfs=address):  # with nothing of the first one's but the store
                said = told(process)
    digest, small = f"{sha256(content).hexdigest()}  -", str(3 * len(FOREVER))
    assert [line for line in once if line[0] != "+"] == [f"read 1: {digest}", f"small 1: {small}", "reading 2"]
    assert said == {"read 2": digest, "small 2": small}


def test_a_gateway_that_is_away_for_a_while_is_waited_for(place: Place, tmp_path: Path) -> None:
    push_state(place, tmp_path / "data", 7)
    script = """
        mount_at /moving/latest /mnt
        cat /mnt/version > /dev/null; echo "mounted"
        sleep 1
        echo "waited: $(sort -u /mnt/data)"
        """
    with place.serve(http="off") as gateway, guest(tmp_path, gateway.nfs_port, script) as process:
        heard(process, "mounted")
        gateway.kill()
        back: list[Gateway] = []
        end = threading.Event()

        def later() -> None:
            with place.serve(http="off", nfs=f"127.0.0.1:{gateway.nfs_port}") as again:
                back.append(again)
                end.wait(300)

        timer = threading.Timer(5, later)
        timer.start()
        try:
            assert told(process) == {"waited": "0000007"}
        finally:
            end.set()
            timer.join()
    assert back
