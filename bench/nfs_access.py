"""What a policy costs on calls that memory answers: gateways with one, beside a gateway without. A part of `bench.nfs`.

All of them hold handles to their MAC. The gateways run at the same time and are asked in turns, and each turn is held
against the one beside it, so that what else the machine does falls on all of them alike.
"""

import contextlib
import json
import statistics
import subprocess
from typing import TYPE_CHECKING, Final

from bench.nfs_load import Gateway, Load, serving
from bench.tools import Ours

if TYPE_CHECKING:
    from bench.nfs import Bench

ROUNDS: Final = 9
MEASURES: Final = (("getattr@16", "ops_s"), ("access@16", "ops_s"), ("rand4k@16", "ops_s"))
RULES: Final = 50  # of the policy, most of which are about others
MOST: Final = 0.10


def access(bench: "Bench") -> None:
    """Ask for attributes and read small pieces: by everybody, by a rule's user, and by a token."""
    tool = bench.local()
    policy = bench.place()
    policy.parent.mkdir(parents=True, exist_ok=True)
    rules = [f'[[rule]]\nallow = ["read"]\nto = ["user:{number}"]\non = ["@{number}/*"]\n' for number in range(RULES)]
    policy.write_text("".join(rules) + '[[rule]]\nallow = ["read"]\nto = ["user:lab"]\non = ["data"]\n')
    made = subprocess.run(
        [tool.program, "token", "create", f"bench-{policy.parent.name}", "--nfs", "--allow", "read:data", "--json"],
        env=tool.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    token = json.loads(made.stdout)["token"]
    login = {"AETHERFS_AUTH_POLICY": str(policy), "AETHERFS_CACHE_MEMORY": "2GiB"}
    rule = '[{from = ["127.0.0.1"], principal = "user:lab", uid = 1000}]'
    ways = {
        "everybody": ({"AETHERFS_CACHE_MEMORY": "2GiB"}, "/data/v1.0.0"),
        "a rule's user": ({**login, "AETHERFS_NFS_EXPORT": rule}, "/data/v1.0.0"),
        "a token": (login, f"/@token/{token}/data/v1.0.0"),
    }
    found: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as running:
        loads = {
            way: Load(bench.nfsload, running.enter_context(_serving(tool, settings)), path, dir="dir1k", big="big.bin")
            for way, (settings, path) in ways.items()
        }
        for load in loads.values():
            load.rows("once1m@4")
        for _ in range(ROUNDS):
            for measure, field in MEASURES:
                for way, load in loads.items():
                    found.setdefault((measure, way), []).append(load.value(measure, field))
    for measure, _ in MEASURES:
        alone = found[measure, "everybody"]
        for way in list(ways)[1:]:
            ratio = statistics.median(one / beside for one, beside in zip(found[measure, way], alone, strict=True))
            rates = f"{statistics.median(found[measure, way]):,.0f} to {statistics.median(alone):,.0f}/s"
            aim, met = (f"<= {MOST:.0%} less", ratio >= 1 - MOST) if measure == "getattr@16" else ("", None)
            bench.note(f"{measure} for {way}, beside without login", aim, f"{ratio:.2f} x: {rates}", met=met)


def _serving(tool: Ours, settings: dict[str, str]) -> contextlib.AbstractContextManager[Gateway]:
    return serving(tool, http=False, **settings)
