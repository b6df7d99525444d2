"""Asks a gateway byte for byte what a test spells, by connections of which it is known which worker has them."""

import http.client
import os
import re
import select
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TRIES = 300  # connections until every worker has got one
TIMEOUT_S = 30
PASSING = ("date", "x-request-id")  # fields that differ from answer to answer


class Answer(NamedTuple):
    """All of an answer but what differs each time."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str:
        """Return a field, empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def renamed(self, old: str, new: str) -> "Answer":
        """Return what it would say of another name, in whatever case and however it is escaped."""
        headers = tuple((key, _renamed(value, old, new)) for key, value in self.headers)
        body = _renamed(self.body.decode("latin-1"), old, new).encode("latin-1")
        return Answer(self.status, headers, body)


def _renamed(text: str, old: str, new: str) -> str:
    text = urllib.parse.unquote(urllib.parse.unquote(text, "latin-1"), "latin-1")
    for one, other in zip(old.split("/"), new.split("/"), strict=True):
        text = re.sub(f"{re.escape(one)}|{re.escape(other)}", other, text, flags=re.IGNORECASE)
    return text


class Lines:
    """Kept connections to one gateway, one to each of its workers, made by one kind of client."""

    def __init__(self, url: str, pid: int, workers: int, tls: ssl.SSLContext | None = None) -> None:
        """Connect.

        Args:
            url: of the gateway.
            pid: of its supervisor.
            workers: how many it has.
            tls: what the client trusts and shows.
        """
        self.netloc, self._pid, self._tls = urllib.parse.urlsplit(url).netloc, pid, tls
        self._kept: dict[int, http.client.HTTPConnection] = {}
        self._fill(workers)

    @property
    def workers(self) -> tuple[int, ...]:
        """Return the process ids of the workers."""
        return tuple(sorted(self._kept))

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: str = "", *, worker: int | None = None
    ) -> Answer:
        """Ask one worker by the connection that is kept; without `worker`, whoever takes a new one."""
        if worker is None:
            line = self._connect()
            try:
                return _ask(line, self.netloc, method, target, headers, body)
            finally:
                line.close()
        sock = self._kept[worker].sock
        if sock is not None and select.select([sock], [], [], 0)[0]:  # the gateway has ended it: nobody asked for long
            self._kept.pop(worker).close()
            self._fill(len(self._kept) + 1)
        answer = _ask(self._kept[worker], self.netloc, method, target, headers, body)
        if self._kept[worker].sock is None:  # the answer was the last on it
            del self._kept[worker]
            self._fill(len(self._kept) + 1)
        return answer

    def close(self) -> None:
        """End all connections."""
        for line in self._kept.values():
            line.close()

    def _fill(self, workers: int) -> None:
        others = []
        for _ in range(TRIES):
            if len(self._kept) == workers:
                break
            line = self._connect()
            worker = owner_of(self._pid, line)
            if worker in self._kept:
                others.append(line)  # kept open meanwhile, so that it keeps its worker from the next one
            else:
                self._kept[worker] = line
        for line in others:
            line.close()
        assert len(self._kept) == workers, "a worker took no connection"

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            line = http.client.HTTPConnection(self.netloc, timeout=TIMEOUT_S)
        else:
            line = http.client.HTTPSConnection(self.netloc, timeout=TIMEOUT_S, context=self._tls)
        line.connect()
        return line


def _ask(
    line: http.client.HTTPConnection, netloc: str, method: str, target: str, headers: Mapping[str, str], body: str = ""
) -> Answer:
    line.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    line.putheader("Host", netloc)
    for name, value in headers.items():
        line.putheader(name, value)
    data = body.encode()
    if data:
        line.putheader("Content-Length", str(len(data)))
    line.endheaders(data)
    found = line.getresponse()
    content = found.read()
    found.close()
    fields = tuple((key, value) for key, value in found.getheaders() if key.lower() not in PASSING)
    return Answer(found.status, fields, content)


def owner_of(supervisor: int, line: http.client.HTTPConnection) -> int:
    """Return the process id of the worker that has the other end of a connection (proc(5))."""
    ours, theirs = line.sock.getsockname()[1], line.sock.getpeername()[1]
    line_of_worker = _ask(line, line.host, "GET", "/healthz", {})  # it was accepted by now
    assert line_of_worker.status == 200
    inode = _inode(theirs, ours)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"PPid:\t{supervisor}\n" not in (process / "status").read_text():
                continue
            if any(os.readlink(entry) == f"socket:[{inode}]" for entry in (process / "fd").iterdir()):
                return int(process.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    raise AssertionError("no worker has the connection")


def _inode(local: int, remote: int) -> str:
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = row.split()
        if words[1].endswith(f":{local:04X}") and words[2].endswith(f":{remote:04X}"):
            return words[9]
    raise AssertionError("no such connection")
