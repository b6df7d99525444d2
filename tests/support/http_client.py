"""Asks a gateway over HTTP or WebDAV for whatever comes, errors half-way included."""

import http.client
import urllib.parse


def ask(gateway: str, method: str, path: str, *, timeout_s: float) -> tuple[int, bytes]:
    """Send one request and return (status, body).

    Args:
        gateway: URL of the gateway.
        method: of the request.
        path: as it is sent, so quoted.
        timeout_s: longest wait for the next bytes.
    """
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(gateway).netloc, timeout=timeout_s)
    connection.request(method, path, headers={"Depth": "1", "Accept": "application/json"})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    except http.client.IncompleteRead:  # an error that came after the head was out
        return 500, b""
    finally:
        connection.close()
