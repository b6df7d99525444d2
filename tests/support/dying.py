"""Commands in processes of their own that are gone at a chosen step on the file system: no `finally` of theirs runs.

A step is a file opened to be written, a link, a rename, a removal or a new folder: what Python tells an audit hook, so
writes of objects to a store in a folder are steps as those of local files are. The process is forked: that takes
milliseconds, where a new program takes half a second.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gateway.cli import main

KILLED: Final = 99  # exit code of a process that died as told
_STEPS: Final = frozenset({"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def start(words: Sequence[str | Path], *, die_at: int = 0, said: Path | None = None) -> int:
    """Run a command line in a process of its own; return its id.

    Args:
        words: the command line.
        die_at: the step before which it is gone, from 1; 0: never.
        said: takes what it prints.
    """
    child = os.fork()
    if child:
        return child
    try:
        out = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)  # not pytest's
        if die_at:
            _arm(die_at)
        code = main.run([str(word) for word in words])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(child: int) -> int:
    """Return the exit code of a process."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(words: Sequence[str | Path], *, die_at: int = 0, said: Path | None = None) -> int:
    """Run a command line in a process of its own; return its exit code."""
    return wait(start(words, die_at=die_at, said=said))


def _arm(die_at: int) -> None:
    left = die_at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if writes or event in _STEPS:
            left -= 1
            if not left:
                os._exit(KILLED)

    sys.addaudithook(hook)
