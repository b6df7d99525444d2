"""How requests come in: cheroot's connection and request parser, with what they leave open decided (RFC 9112).

A request target may be absolute, and may hold bytes over 0x7F as they are: curl sends what was typed. Host must be
there, and Content-Length must be a number. A client has only so much patience: a thread waits for the bytes of one
request for `PATIENCE_S` in all, however they trickle in, and gets that time back as bytes come at `LEAST_RATE`. Only
some threads wait so at a time: beyond them a body that has not arrived counts as broken off, so that those that never
come hold up nobody else. Threads: a connection is used by one at a time.
"""

import io
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from cheroot import makefile, server

from gateway.web.client import Client
from gateway.web.framing import FORWARDED, HSTS, FieldLines, coding_fault, wants_close
from gateway.web.pace import Pace
from gateway.web.tls import TlsSocket

PATIENCE_S: Final = 30.0
LEAST_RATE: Final = 16 * 1024  # bytes a second that a client must send on average, once its patience is used up

WITH_BODY: Final = frozenset((b"PROPFIND", b"PROPPATCH"))  # methods whose bodies are read

_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")


class Incoming(socket.SocketIO):
    """A socket as a stream that bounds how long its reader waits for one request."""

    def __init__(
        self, sock: socket.socket | TlsSocket, patience_s: float, clock: Callable[[], float] = time.monotonic,
        *, places: threading.Semaphore | None = None,
    ) -> None:  # fmt: skip
        """Read from `sock`, whose own time-out bounds each single wait.

        Args:
            sock: the socket.
            patience_s: see the module.
            clock: tells seconds that never go back.
            places: for those who wait, shared with others; `None`: as many as want to.
        """
        super().__init__(sock, "r")  # type: ignore[arg-type]  # it has what of a socket is asked for
        self._socket, self._patience_s, self._clock, self._places = sock, patience_s, clock, places
        self._left_s = patience_s
        self._given = b""  # what was received already
        self._paused = False

    def give(self, data: bytes) -> None:
        """Have the stream begin with what was received already."""
        self._given, self._paused = data, False

    def pause(self) -> bytes:
        """Read no more of the socket; return what was given and not read."""
        self._paused = True
        given, self._given = self._given, b""
        return given

    def begin(self) -> None:
        """Take note that the next request begins."""
        self._left_s = self._patience_s

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived, or wait for it.

        Raises:
            TimeoutError: the client sent nothing for too long, or too little in all, or too many wait already.
        """
        if self._given:
            size = min(len(buffer), len(self._given))
            buffer[:size], self._given = self._given[:size], self._given[size:]
            return size
        if self._paused:
            return None
        if self._left_s <= 0:
            raise TimeoutError("timed out")  # cheroot knows a time-out by this text alone, and answers 408
        whole, began = self._socket.gettimeout(), self._clock()
        try:
            self._socket.settimeout(0.0)
            count = super().readinto(buffer)
            if count is None:
                self._socket.settimeout(self._left_s if whole is None else min(self._left_s, whole))
                count = self._waited(buffer)
        finally:
            self._socket.settimeout(whole)
        waited = self._clock() - began
        self._left_s = min(self._patience_s, self._left_s - waited + (count or 0) / LEAST_RATE)
        return count

    def _waited(self, buffer: Any) -> int | None:
        if self._places is None:
            return super().readinto(buffer)
        if not self._places.acquire(blocking=False):
            raise TimeoutError("timed out")
        try:
            return super().readinto(buffer)
        finally:
            self._places.release()


class _Reader(makefile.StreamReader):
    def __init__(self, incoming: Incoming, size: int) -> None:
        super(makefile.StreamReader, self).__init__(incoming, size)
        self.bytes_read = 0


class _Outbox:
    """What cheroot writes: it waits for the loop to send it, or for `push`, so that no thread waits unseen."""

    def __init__(self, connection: "HttpConnection") -> None:
        self._connection = connection
        self.bytes_written = 0

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._connection.client.out.append(data)
        return len(data)


class _RequestLine:
    """The first line of a head, in which bytes that a target cannot hold are escaped."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self) -> bytes:
        line: bytes = self._lines.readline()
        return _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), line)


class Request(server.HTTPRequest):
    """One request."""

    def __init__(self, owner: Any, connection: Any) -> None:
        # What cheroot calls proxy mode is the absolute form, which every server must take (section 3.2.2).
        super().__init__(owner, connection, proxy_mode=True)
        self.header_reader = self._read_fields
        self._expects = b""

    def parse_request(self) -> None:
        """Read and check the head; a refusal is sent at once."""
        self.conn.incoming.begin()
        super().parse_request()

    def read_request_line(self) -> bool:
        """Read the request line; return whether it is one."""
        lines = self.rfile
        self.rfile = _RequestLine(lines)
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]  # cheroot's types stop here
        except ValueError:  # an authority that is none
            return self._refuse("Malformed Request-URI")
        finally:
            self.rfile = lines

    def read_request_headers(self) -> bool:
        """Read the headers; return whether they can be used."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]  # as above
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        if not length.isdigit():
            return self._refuse("Content-Length must be a number.")
        if self.request_protocol == b"HTTP/1.1" and b"Host" not in self.inheaders:
            return self._refuse("HTTP/1.1 requires a Host header.")
        fault = coding_fault(self.inheaders, self.request_protocol)
        if fault:
            return self._refuse(fault)
        self.close_connection = self.close_connection or wants_close(self.inheaders)
        if self._expects == b"100-continue" and self.request_protocol == b"HTTP/1.1":  # else it means nothing
            self._invite()
        return True

    def _read_fields(self, lines: Any, fields: dict[bytes, bytes]) -> None:
        """Read the field lines, and keep `Expect` from cheroot, which would ask for any body at once."""
        wanted = FieldLines(lines)
        server.HTTPRequest.header_reader(wanted, fields)
        for name in [name for name in fields if b"_" in name]:  # WSGI has it under the name of the field with a hyphen
            del fields[name]
        if wanted.forwarded:  # of which cheroot has the last line alone
            fields[FORWARDED] = b", ".join(wanted.forwarded)
        self._expects = fields.pop(b"Expect", b"").lower()

    def _invite(self) -> None:
        """Ask for the body that a client holds back, if it will be read (RFC 9110 section 10.1.1)."""
        if self.method in WITH_BODY:
            self.conn.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.conn.push()
        else:  # what is refused need not be sent
            self.inheaders[b"Expect"] = self._expects
            self.close_connection = True

    def send_headers(self) -> None:
        """Send the head of an answer."""
        if self.conn.client.secure is not None:
            self.outheaders.append(HSTS)
        super().send_headers()

    def simple_response(self, status: str | int, msg: str = "") -> None:
        """Refuse a request that no application has seen."""
        super().simple_response(status, msg)
        access = self.server.access
        if access is not None:
            known = vars(self)  # cheroot sets them as it reads them
            method, target = (bytes(known.get(name) or b"-").decode("latin-1") for name in ("method", "uri"))
            access.note(self.conn.remote_addr, method, target, int(str(status)[:3]), len(msg))

    def _refuse(self, why: str) -> bool:
        self.simple_response("400 Bad Request", why)
        return False


class HttpConnection(server.HTTPConnection):
    """One connection."""

    RequestHandlerClass = Request

    def __init__(self, owner: Any, sock: socket.socket | TlsSocket, makefile: Any) -> None:
        super().__init__(owner, sock, makefile)
        self.rfile.close()
        self.wfile.close()
        self.incoming = Incoming(sock, owner.limits.patience_s, places=owner.places)
        self.rfile = _Reader(self.incoming, io.DEFAULT_BUFFER_SIZE)
        self.wfile = _Outbox(self)
        self.client: Client
        self._paced: Pace | None = None  # while it holds others up
        self.gone: Callable[[Client], None]

    def begin(self, data: bytes) -> None:
        """Have the next request begin with what was received already."""
        self.incoming.give(data)

    def left(self) -> bytes:
        """Return what was received of the requests behind the one that was answered."""
        given = self.incoming.pause()
        held = len(self.rfile.peek(1))
        opened = self.client.secure.left() if self.client.secure is not None else b""
        return bytes(self.rfile.read(held)) + given + opened

    def push(self) -> None:
        """Send what was written, and wait for the client to take it. The time-out is for each part of it.

        Raises:
            OSError: it takes nothing, or is gone.
        """
        client, out = self.client, self.client.out
        client.sent_s = time.monotonic()
        try:
            while out:
                view = memoryview(out.popleft())
                while view:
                    view = view[self.socket.send(view) :]
                    client.sent_s = time.monotonic()
        except OSError:
            out.clear()  # what was taken of it cannot be told from what was not
            raise
        finally:
            client.sent_s = 0.0

    def communicate(self) -> bool:
        """Answer one request. The connection goes back to the loop, which also ends it."""
        pace: Pace = self.server.loop.pace
        pace.enter()
        self._paced = pace
        try:
            self.socket.settimeout(self.server.timeout)
            given = self._given_meanwhile()
            kept = given or super().communicate()  # type: ignore[no-untyped-call]  # cheroot's types stop here
        finally:
            self.answered()
        self.client.close_after = not kept
        return True

    def _given_meanwhile(self) -> bool:
        """Tell whether somebody else was given the answer that the loop can give again: many ask for a page at once."""
        client, lane = self.client, self.server.lane
        if lane is None or client.request is None:
            return False
        return lane.known(b"%s\r\n\r\n%s" % (client.request.raw, client.asked_body), client.peer) is not None

    def answered(self) -> None:
        """Take note that what follows is sending, for which nobody else need wait."""
        if self._paced is not None:
            self._paced.leave()
            self._paced = None

    def close(self) -> None:
        """Close it."""
        super().close()
        self.gone(self.client)
