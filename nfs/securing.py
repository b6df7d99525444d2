"""The handshake of a connection that goes over to TLS: the socket shell of `nfs.tls.SecureStream`.

Threads: runs on the connection's own thread, the only one that touches its socket.
"""

import contextlib
import select
import socket
import time

from OpenSSL import SSL

from nfs.tls import SecureStream, TlsFailed


def secure(sock: socket.socket, context: SSL.Context, *, timeout_s: float) -> SecureStream:
    """Do the handshake on a connected socket, on which the client was just told to begin it.

    Args:
        sock: blocking, with a timeout for sending. Calls may have come behind the handshake: take them from the stream.
        context: prepared, see `nfs.tls.Contexts`.
        timeout_s: for all of it, however its bytes come.

    Raises:
        TlsFailed: the client spoke something else, was not accepted, took too long or went.
        OSError: the connection is lost.
    """
    stream, deadline_s = SecureStream(context), time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while not stream.ready:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise TlsFailed(f"TLS handshake not done after {timeout_s:g} s")
        count = sock.recv_into(stream.room)
        if not count:
            raise TlsFailed("the client went during the TLS handshake")
        stream.received(count)
        try:
            said = stream.handshake()
        except TlsFailed as error:
            tell(sock, error.alert)
            raise
        if said:
            sock.sendall(said)
    return stream


def tell(sock: socket.socket, said: bytes) -> None:
    """Send the last word on a connection, if the client still takes it; never waits."""
    if said:
        with contextlib.suppress(OSError):
            sock.send(said, socket.MSG_DONTWAIT)
