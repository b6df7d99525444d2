"""What real WebDAV clients send, and what they must get: request lines, headers and bodies in the order of the client.

Sources. rclone 1.75.2 (bodies from `--dump bodies`) and cadaver 0.24 (neon 0.32.5): captured from the programs against
this gateway, headers as they arrived, Host and Referer left out; of cadaver's requests the headers alone. Finder,
Explorer and gvfs: composed after captures in public threads, not byte for byte:
dgraziotin/docker-nginx-webdav-nononsense#6, nextcloud/server#2979, danmunn/redmine_dmsf#334, felixrupp/user_cas#94.
"""

import gzip
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from dav.reply import WsgiApp
from gateway.web.app import make_wsgi_app
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call


class Sent(NamedTuple):
    """One request of a client, and the status that lets it go on."""

    method: str
    target: str
    expected: int
    headers: dict[str, str]
    body: bytes = b""


FINDER_PROPS = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n'
    b"<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n</D:prop>\n</D:propfind>\n"
)
RCLONE_OWNCLOUD = (
    b'<?xml version="1.0"?>\n<d:propfind  xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" '
    b'xmlns:nc="http://nextcloud.org/ns">\n <d:prop>\n  <d:displayname />\n  <d:getlastmodified />\n'
    b"  <d:getcontentlength />\n  <d:resourcetype />\n  <oc:checksums />\n  <oc:permissions />\n"
    b" </d:prop>\n</d:propfind>\n"
)
RCLONE_OTHER = (
    b'<?xml version="1.0"?>\n<d:propfind xmlns:d="DAV:">\n <d:prop>\n  <d:displayname/>\n'
    b"  <d:getlastmodified/>\n  <d:getcontentlength/>\n  <d:resourcetype/>\n </d:prop>\n</d:propfind>\n"
)
RCLONE = {"User-Agent": "rclone/v1.75.2", "Depth": "0", "Accept-Encoding": "gzip"}
CADAVER = {"User-Agent": "cadaver/0.24 neon/0.32.5", "Connection": "TE", "TE": "trailers"}
FINDER = {"User-Agent": "WebDAVFS/3.0.0 (03008000) Darwin/22.1.0 (arm64)"}
EXPLORER = {"User-Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045", "Translate": "f"}
GVFS = {"User-Agent": "gvfs/1.50.3", "Depth": "0"}

SEQUENCES = {
    "finder connects and lists": [
        Sent("OPTIONS", "/", 200, {"User-Agent": "WebDAVLib/1.3"}),
        Sent("OPTIONS", "/", 200, FINDER),
        Sent("PROPFIND", "/", 207, {**FINDER, "Depth": "0"}, FINDER_PROPS),
        Sent("PROPFIND", "/webdav/", 207, {**FINDER, "Depth": "0"}, FINDER_PROPS),
        Sent("PROPFIND", "/webdav/.metadata_never_index", 207, {**FINDER, "Depth": "0"}, FINDER_PROPS),
        Sent("PROPFIND", "/webdav/geo/1.0.0/", 207, {**FINDER, "Depth": "1"}, FINDER_PROPS),
        Sent("PROPFIND", "/webdav/geo/1.0.0/._a.txt", 404, {**FINDER, "Depth": "0"}, FINDER_PROPS),
        Sent("GET", "/webdav/geo/1.0.0/a.txt", 206, {**FINDER, "Range": "bytes=0-4095"}),
        Sent("GET", "/webdav/geo/1.0.0/cafe%CC%81", 200, FINDER),  # decomposed, as macOS sends it
    ],
    "explorer walks segment by segment and is refused a copy": [
        Sent("OPTIONS", "/", 200, EXPLORER),
        Sent("PROPFIND", "/", 207, {**EXPLORER, "Depth": "0"}),
        Sent("PROPFIND", "/webdav", 207, {**EXPLORER, "Depth": "0"}),
        Sent("PROPFIND", "/webdav/geo", 207, {**EXPLORER, "Depth": "1"}),
        Sent("PROPFIND", "/webdav/geo/1.0.0", 207, {**EXPLORER, "Depth": "1"}),
        Sent("PROPFIND", "/webdav/geo/1.0.0/desktop.ini", 404, {**EXPLORER, "Depth": "0"}),
        Sent("PROPFIND", "/webdav/geo/1.0.0/folder.jpg", 404, {**EXPLORER, "Depth": "0"}),
        Sent("PROPFIND", "/webdav/geo/1.0.0/new.txt", 404, {**EXPLORER, "Depth": "0"}),
        Sent("PUT", "/webdav/geo/1.0.0/new.txt", 403, EXPLORER),
        Sent("LOCK", "/webdav/geo/1.0.0/a.txt", 405, {**EXPLORER, "Timeout": "Second-3600"}),
    ],
    "gvfs strips the slash": [
        Sent("OPTIONS", "/webdav", 200, GVFS),
        Sent("PROPFIND", "/webdav", 207, GVFS, FINDER_PROPS),
        Sent("PROPFIND", "/webdav/geo/1.0.0", 207, {**GVFS, "Depth": "1"}, FINDER_PROPS),
    ],
    "rclone lists and reads": [
        Sent("PROPFIND", "/webdav/geo/1.0.0/a.txt", 207, RCLONE, RCLONE_OWNCLOUD),
        Sent("PROPFIND", "/webdav/geo/1.0.0/a.txt", 207, RCLONE),  # a repeated one has lost its body: all properties
        Sent("PROPFIND", "/webdav/geo/1.0.0/", 207, {**RCLONE, "Depth": "1"}, RCLONE_OWNCLOUD),
        Sent("PROPFIND", "/webdav/geo/1.0.0/", 207, {**RCLONE, "Depth": "1"}, RCLONE_OTHER),
        Sent("GET", "/webdav/geo/1.0.0/a.txt", 200, RCLONE),
        Sent(
            "GET", "/webdav/geo/1.0.0/a.txt", 206, {"User-Agent": "rclone/v1.75.2", "Depth": "0", "Range": "bytes=1-2"}
        ),
    ],
    "cadaver lists and reads": [
        Sent("OPTIONS", "/webdav/", 200, {**CADAVER, "Connection": "TE, Keep-Alive", "Keep-Alive": ""}),
        Sent("PROPFIND", "/webdav/", 207, {**CADAVER, "Depth": "0"}),
        Sent("PROPFIND", "/webdav/", 207, {**CADAVER, "Depth": "1"}),
        Sent("PROPFIND", "/webdav/geo/1.0.0/", 207, {**CADAVER, "Depth": "0"}),
        Sent("GET", "/webdav/geo/1.0.0/a.txt", 200, CADAVER),
    ],
}


@pytest.fixture
def app() -> WsgiApp:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"a.txt": b"hello\n", "caf\u00e9".encode(): b"composed"})
    return make_wsgi_app(tree)


@pytest.mark.parametrize("client", SEQUENCES)
def test_each_step_of_a_client_gets_the_answer_that_lets_it_go_on(app: WsgiApp, client: str) -> None:
    for sent in SEQUENCES[client]:
        answer = call(app, sent.method, sent.target, sent.headers, sent.body)
        assert answer.status == sent.expected, sent
        assert "location" not in answer.headers
        if sent.method == "OPTIONS":
            assert answer.headers["dav"] == "1"
        if answer.status == 207:
            zipped = answer.headers.get("content-encoding") == "gzip"
            content = gzip.decompress(answer.body) if zipped else answer.body
            assert b"quota" not in content
            assert ElementTree.fromstring(content).tag == "{DAV:}multistatus"
