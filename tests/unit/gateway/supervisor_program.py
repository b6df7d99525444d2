"""A program for tests, a supervisor over `supervisor_worker`: ENTRY ADDRESS WORKERS CACHE_DIR DRAIN_S."""

import logging
import sys

from gateway import logs
from gateway.config import load, parse_address
from gateway.lifecycle import ServeError, bound, listen
from gateway.supervisor import Group, Supervisor


def main() -> int:
    entry, address, workers, cache_dir, drain_s = sys.argv[1:]
    logs.set_up(logging.WARNING)
    parsed = parse_address(address)
    if parsed is None:
        return 2
    try:
        listener = listen("echo", parsed)
        group = Group("echo", f"tests.unit.gateway.supervisor_worker:{entry}", (listener,), int(workers))
        settings = load(flags={"cache.dir": cache_dir}, environ={})
        ready = f"ready {bound(listener)}"
        ready_s = 1.0 if entry == "silent" else 60.0
        supervisor = Supervisor([group], settings, log_level=logging.WARNING, drain_s=float(drain_s), ready_s=ready_s)
        supervisor.run(lambda: print(ready, flush=True))
    except ServeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
