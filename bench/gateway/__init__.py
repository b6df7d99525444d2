"""Ours beside other servers of the same tree: NFSv3 and WebDAV load."""
