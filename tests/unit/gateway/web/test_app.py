"""Routing and the end of errors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from dav.reply import WsgiApp
from gateway.web.app import HttpApp, Parts, make_wsgi_app, show
from store.errors import StoreUnavailable
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"a": b"a"})
    return tree


@pytest.fixture
def app(tree: MemoryTree) -> WsgiApp:
    return make_wsgi_app(tree)


def test_browsers_at_the_root_are_sent_to_the_files(app: WsgiApp) -> None:
    answer = call(app, "GET", "/")
    assert (answer.status, answer.headers["location"]) == (302, "/fs/")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "LOCK"])
def test_the_root_is_as_read_only_as_the_rest(app: WsgiApp, method: str) -> None:
    assert call(app, method, "/").status in (403, 405)


def test_unknown_paths_are_404(app: WsgiApp) -> None:
    for target in ("/favicon.ico", "/fsx/", "/healthz/x", "/api/v1/datasets", "/%66sx"):
        assert call(app, "GET", target).status == 404
    assert call(app, "PROPFIND", "/nowhere", {"Depth": "0"}).status == 404


def test_alive_does_not_ask_the_store_and_ready_does(app: WsgiApp, tree: MemoryTree) -> None:
    assert call(app, "GET", "/healthz").status == 200
    assert call(app, "GET", "/readyz").status == 200

    def fail(_operation: str) -> None:
        raise StoreUnavailable("s3://bucket", "no route")

    tree.on_blocking = fail
    assert call(app, "GET", "/healthz").status == 200
    assert call(app, "GET", "/readyz").status == 503


def test_one_thread_looks_whether_the_store_is_ready_however_many_ask(app: WsgiApp, tree: MemoryTree) -> None:
    looking, answered = threading.Event(), threading.Event()

    def wait(_operation: str) -> None:
        looking.set()
        answered.wait(60)

    tree.on_blocking = wait
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, app, "GET", "/readyz")
        try:
            assert looking.wait(60)
            assert call(app, "GET", "/readyz").status == 503  # nobody knows yet
        finally:
            answered.set()
        assert first.result().status == 200
        looking.clear()
        answered.clear()
        second = pool.submit(call, app, "GET", "/readyz")
        try:
            assert looking.wait(60)
            assert [call(app, "GET", "/readyz").status for _ in range(3)] == [200] * 3  # as it was found last
        finally:
            answered.set()
        assert second.result().status == 200


def test_the_unexpected_is_logged_once_with_the_id_that_the_client_gets(tree: MemoryTree) -> None:
    def broken(_environ: object, _start_response: object) -> list[bytes]:
        raise KeyError("secret detail")

    with capture_logs() as logs:
        answer = call(HttpApp(tree, show(tree)._replace(files=broken), Parts()), "GET", "/fs/x")  # type: ignore[arg-type]
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert len(logs) == 1
    assert logs[0]["request_id"] == answer.headers["x-request-id"]
    assert logs[0]["target"] == "/fs/x"


def test_what_is_not_there_is_not_logged(app: WsgiApp) -> None:
    with capture_logs() as logs:
        assert call(app, "GET", "/fs/nope/").status == 404
        assert call(app, "GET", "/webdav/nope/").status == 404
    assert logs == []


def test_an_upload_too_long_to_drop_ends_its_connection(app: WsgiApp) -> None:
    short = call(app, "PUT", "/webdav/geo/x", {}, b"x" * 1000)
    assert "connection" not in short.headers
    long = call(app, "PUT", "/webdav/geo/x", {}, b"x" * (17 * 1024 * 1024))
    assert (long.status, long.headers["connection"]) == (403, "close")


def test_what_is_not_there_or_refused_is_kept_by_no_cache(app: WsgiApp) -> None:
    for method, target in (("GET", "/fs/geo/2.0.0/a"), ("HEAD", "/nowhere"), ("GET", "/webdav/geo/1.0.0/b")):
        assert call(app, method, target).headers["cache-control"] == "no-store"


def test_what_the_root_allows_is_said_alike_whatever_was_asked(app: WsgiApp) -> None:
    assert call(app, "POST", "/").headers["allow"] == call(app, "OPTIONS", "/").headers["allow"]
