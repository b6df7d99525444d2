"""What can be wrong with bytes that a peer sent. Pure; shared by the codecs of this package."""


class WireError(Exception):
    """Root of all errors about a peer's bytes."""


class GarbageArgs(WireError):
    """Arguments do not decode (RFC 5531 GARBAGE_ARGS)."""


class RecordRefused(WireError):
    """The stream's record marking passes a limit; nothing after it can be trusted, so the connection ends."""


class NotACall(WireError):
    """A record is no RPC call and names no one to answer; the connection ends."""


class RpcMismatch(WireError):
    """A call speaks another version of RPC than 2."""

    def __init__(self, xid: int, version: int) -> None:
        self.xid, self.version = xid, version
        super().__init__(f"call {xid:#x} speaks RPC version {version}, not 2")


class AuthRejected(WireError):
    """A call's credential or verifier cannot be accepted (RFC 5531 AUTH_ERROR)."""

    def __init__(self, xid: int, auth_stat: int, why: str) -> None:
        self.xid, self.auth_stat = xid, auth_stat
        super().__init__(f"call {xid:#x}: {why}")
