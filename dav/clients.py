"""Clients that want something else than the others, by their User-Agent. Pure; any thread.

What all get (no quota properties, no redirects, class 1) is said where it is done.
"""


def is_finder(agent: str | None) -> bool:
    """Tell whether it is macOS: the library that connects, or the file system that it mounts then."""
    return agent is not None and agent.startswith(("WebDAVFS/", "WebDAVLib/"))


def is_mini_redirector(agent: str | None) -> bool:
    """Tell whether it is what Explorer and all of Windows see WebDAV through."""
    return agent is not None and agent.startswith("Microsoft-WebDAV-MiniRedir/")
