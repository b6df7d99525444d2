"""How long a gateway waits for its store, once it serves."""

import socket
from pathlib import Path

import pytest

from gateway.app import SERVING
from gateway.config import Settings, StoreSettings
from gateway.stores import Options, connect
from store.errors import StoreUnavailable
from store.objects.retry import STANDARD, Backoff


def waits_s(backoff: Backoff) -> float:
    return sum(backoff.delay_s(n, fraction=1.0, asked_s=None) for n in range(1, backoff.attempts))


def test_who_asks_a_gateway_is_told_of_an_outage_long_before_a_command_would_give_up() -> None:
    assert waits_s(SERVING) < 10 < waits_s(STANDARD)
    assert SERVING.give_up_s <= 5
    assert SERVING.answer_s <= 5


def test_a_store_is_asked_as_often_as_its_opener_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    waited: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"s3://bucket/place?endpoint=http://127.0.0.1:{port}&region=us-east-1"
    options = Options(on_wait=lambda _why, seconds: waited.append(seconds), backoff=Backoff(attempts=3, first_s=0.001))
    objects, _ = connect(Settings(store=StoreSettings(url=url)), options, create=False)
    try:
        with pytest.raises(StoreUnavailable):
            objects.get("aetherfs.json")
    finally:
        objects.close()
    assert len(waited) == 2
