"""A command that waits says what for, and ends by itself."""

import functools
from collections.abc import Iterator

import pytest

from gateway import stores
from gateway.cli.main import run
from store.layout import ROOT_KEY
from store.objects.address import open_objects
from store.objects.base import ObjectStore
from store.objects.patience import OnLong, Patient
from store.objects.retry import Retrying
from store.objects.s3 import READ_TIMEOUT_S
from store.root import create_store
from tests.support.proxy import Exchange, Proxy, Seen, hang, instead, proxied
from tests.support.s3 import S3Place


@pytest.fixture
def proxy(moto_place: S3Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    objects = open_objects(moto_place.address)
    create_store(objects)
    objects.close()
    with proxied(moto_place.server) as proxy:
        monkeypatch.setenv("AETHERFS_STORE", proxy.address(moto_place.address))
        yield proxy


def of_record(seen: Seen) -> bool:
    return ROOT_KEY in seen.key


def test_a_store_that_says_nothing_is_named_with_what_is_waited_for(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def patient(inner: ObjectStore, on_long: OnLong) -> Patient:
        def say(text: str) -> None:
            on_long(text)
            told.append(text)
            proxy.heal()  # it has been said: the store comes back

        return Patient(inner, say, long_s=0.05)

    monkeypatch.setattr(stores, "Patient", patient)
    monkeypatch.setattr(stores, "Retrying", functools.partial(Retrying, sleep=lambda seconds: None))
    proxy.fault(hang, of_record)
    assert run(["ls"]) == 0
    assert told
    assert f"still reading '{ROOT_KEY}' after" in capsys.readouterr().err


def test_a_store_that_asks_for_time_is_given_it_and_the_wait_is_said_with_its_reason(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(stores, "Retrying", functools.partial(Retrying, sleep=slept.append))
    proxy.fault(instead(503, "SlowDown", Retry_After="9"), of_record, times=2)
    assert run(["ls"]) == 0
    assert slept == [9.0, 9.0]
    said = capsys.readouterr().err
    assert said.count("SlowDown (HTTP 503)") == said.count("trying again in 9.0 s") == 2


def test_quiet_commands_wait_without_a_word(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores, "Retrying", functools.partial(Retrying, sleep=lambda seconds: None))
    proxy.fault(instead(503, "SlowDown"), of_record)
    assert run(["ls", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_store_that_never_answers_ends_a_command_within_three_minutes_though_it_takes_connections(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each attempt waits for READ_TIMEOUT_S; that it does is played here, so that the test need not."""
    now_s = [0.0]

    def silence(exchange: Exchange) -> None:
        now_s[0] += READ_TIMEOUT_S
        exchange.reset()

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    monkeypatch.setattr(stores, "Retrying", functools.partial(Retrying, sleep=sleep, clock=lambda: now_s[0]))
    proxy.fault(silence, times=1000)
    assert run(["ls"]) == 7
    assert now_s[0] <= 180
    assert "Traceback" not in capsys.readouterr().err
