"""What an entry of a tree can be. The numbers stand in manifests and handles: never reuse one."""

import enum


class Kind(enum.IntEnum):
    """Kind of a node."""

    FILE = 1
    FOLDER = 2
    LINK = 3
