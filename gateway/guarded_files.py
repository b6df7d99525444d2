"""Files that decide who may do what: nobody may change one but its owner, who is root or whoever runs this.

Pure but for `os.geteuid`; any thread.
"""

import os
import stat


def why_not(status: os.stat_result, path: str | os.PathLike[str]) -> str:
    """Say why an open file can't be trusted, and what to do; empty: it can.

    Args:
        status: of the file that was opened, not of the path, which may lead elsewhere by now.
        path: how it is called in what is said.
    """
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is no file"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be changed by others than its owner: run `chmod go-w {path}`"
    if status.st_uid not in (0, os.geteuid()):
        return (
            f"{path} belongs to user number {status.st_uid}, who can change it: it has to be root's, or that of "
            "whoever runs this"
        )
    return ""
