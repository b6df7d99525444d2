"""Shows on a terminal how far a push or a pull is: on stderr, and nowhere else, so that results stay clean.

Threads: the work goes on in the caller's; a thread of this module's reads its counters ten times a second.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

PERIOD_S: Final = 0.1
BAR_WIDTH: Final = 12
COUNTS_WIDTH: Final = 16  # of `1003.5/1023.9 GiB`, nearly always


class Reading(NamedTuple):
    """How far it is."""

    phase: str
    done: int  # bytes
    total: int  # bytes; 0 while unknown
    detail: str  # what else is worth knowing, short


@contextlib.contextmanager
def shown(read: Callable[[], Reading], *, wanted: bool) -> Iterator[None]:
    """Show what `read` returns while the context lasts, if it is wanted and stderr is a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    ended = threading.Event()
    columns = (
        # One line, however narrow the terminal: what does not fit of the detail is cut, the rest stays.
        TextColumn("{task.description:10}", table_column=Column(min_width=10, no_wrap=True)),
        BarColumn(bar_width=BAR_WIDTH),
        DownloadColumn(binary_units=True, table_column=Column(min_width=COUNTS_WIDTH, no_wrap=True)),
        TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, detail="")

        def update() -> None:
            phase, done, total, detail = read()
            progress.update(task, description=phase, completed=done, total=total or None, detail=detail)

        def follow() -> None:
            while not ended.wait(PERIOD_S):
                update()

        follower = threading.Thread(target=follow, name="progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()
            update()  # what was quick is shown too
