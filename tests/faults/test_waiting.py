"""A command that waits says what for, and ends by itself."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import stores
from gateway.cli.main import run
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.address import open_objects
from store.objects.base import ObjectStore
from store.objects.patience import OnLong, Patient
from store.objects.retry import STANDARD, Retrying
from store.root import create_store
from tests.support.proxy import Condition, Exchange, Proxy, Seen, hang, instead, proxied
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


@pytest.mark.parametrize(
    ("words", "silent"),
    [
        (["ls"], lambda seen: True),
        (["show", "ds"], lambda seen: DATASETS in seen.key),
        (["cat", "ds:latest/text"], lambda seen: PACKS in seen.key),
        (["pull", "ds:latest", "DEST"], lambda seen: PACKS in seen.key),
        (["verify"], lambda seen: MANIFESTS in seen.key),
        (["push", "NEW", "-t", "ds:latest"], lambda seen: seen.method == "PUT" and PACKS in seen.key),
        (["push", "NEW", "-t", "ds:latest"], lambda seen: seen.method == "PUT" and DATASETS in seen.key),
        (["push", "NEW", "-t", "ds:latest"], lambda seen: seen.method == "PUT"),
        (["tag", "ds:latest", "ds:1.0.0"], lambda seen: seen.conditional_write and DATASETS in seen.key),
        (["rollback", "ds:latest"], lambda seen: DATASETS in seen.key),
    ],
)
def test_a_store_that_falls_silent_though_it_takes_connections_ends_a_command_within_three_minutes(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], silent: Condition,
) -> None:  # fmt: skip
    """Each attempt waits for STANDARD.answer_s; that it does is played here, so that the test need not."""
    for name, text in (("data", "first"), ("data", "second"), ("new", "third")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "text").write_text(text)
        if name == "data":
            assert run(["push", str(tmp_path / name), "-t", "ds:latest"]) == 0
    now_s = [0.0]
    quiet = [True]

    def silence(exchange: Exchange) -> None:
        now_s[0] += STANDARD.answer_s
        exchange.reset()

    def falls_silent(seen: Seen) -> bool:
        """From the first request that fits on, nothing is answered at all."""
        quiet[0] = quiet[0] and not silent(seen)
        return not quiet[0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    monkeypatch.setattr(stores, "Retrying", functools.partial(Retrying, sleep=sleep, clock=lambda: now_s[0]))
    capsys.readouterr()
    proxy.fault(silence, falls_silent, times=1000)
    named = {"DEST": str(tmp_path / "dest"), "NEW": str(tmp_path / "new")}
    assert run([named.get(word, word) for word in words]) == 7
    said = capsys.readouterr().err
    assert STANDARD.give_up_s < now_s[0] <= 180
    assert "Traceback" not in said
    assert "trying again" in said  # once at least: of several threads that wait at once, one tells
    asked = {seen.key.partition("/")[2] for seen in proxy.spoilt if seen.method == "GET"}  # by several threads, perhaps
    assert not asked or any(f"'{key}'" in said for key in asked)
