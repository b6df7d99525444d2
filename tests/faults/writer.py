"""One of several writers of one dataset, as a program that prints what became of each of its rounds.

    python -m tests.faults.writer STORE NAME ROUNDS CHANNEL|-

With a channel, all writers move it, each round from what it names when the round begins; with `-`, each has a channel
of its own. It says `ready` and begins at the end of its input. Then a line a round: the exit code that a command would
end with, the state that the channel named when the round began, the state that was to be published, and what a loser
is told.
"""

import json
import sys

from gateway.exits import exit_code
from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.errors import DatasetMissing, StoreError, TagMissing
from store.objects.address import open_objects
from store.objects.guard import Guarded
from store.objects.retry import Retrying
from store.root import open_store
from tests.faults.steps import DATASET


def state(writer: str, round_: int) -> Content:
    """Return a state that no other writer and no other round publishes."""
    return Content(f"{int(writer) * 1000 + round_ + 1:064x}", "0" * 64, 1, 1)


def main() -> None:
    """Write as told."""
    address, name, rounds, shared = sys.argv[1:]
    objects = Guarded(Retrying(open_objects(address)))
    catalogue = Catalogue(objects, open_store(objects))
    channel = f"own-{name}" if shared == "-" else shared
    print("ready", flush=True)
    sys.stdin.read()  # all begin at once, when the last one is ready
    for round_ in range(int(rounds)):
        new = state(name, round_)
        try:
            parent = catalogue.resolve(f"{DATASET}:{channel}").manifest
        except (DatasetMissing, TagMissing):
            parent = ""
        said, code = "", 0
        try:
            catalogue.set_tags(DATASET, [channel], new, by=f"writer {name}", parents={channel: parent})
        except StoreError as error:
            said, code = str(error), exit_code(error)
        print(json.dumps([code, parent, new.manifest, said]), flush=True)
    objects.close()


if __name__ == "__main__":
    main()
