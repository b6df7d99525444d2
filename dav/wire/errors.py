"""Errors of WebDAV's and HTTP's request syntax: one root, a leaf per cause. `dav.status` decides what each answers."""


class WireError(Exception):
    """Root of all errors about what a client sent."""


class BadXml(WireError):
    """A request body is not the XML that its method asks for."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the request body cannot be used: {why}")


class BodyTooLarge(WireError):
    """A request body is over the limit of its method."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the request body is over {limit} bytes")


class BodyBroken(WireError):
    """A request body ended early, stalled, or its chunks are not chunks."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the request body could not be read: {why}")


class DepthRefused(WireError):
    """A PROPFIND asked for more than one level, or did not say how many (RFC 4918 section 9.1)."""

    def __init__(self, depth: str | None) -> None:
        self.depth = depth
        super().__init__(f"PROPFIND needs a Depth of 0 or 1, got {'none' if depth is None else depth!r}")
