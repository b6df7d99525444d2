"""Opening the store that settings name, and remembering what it does with conditional writes."""

from pathlib import Path

import pytest

from gateway import config, stores
from gateway.config import Settings, load
from gateway.stores import Options, open_store, read_conditions, write_conditions
from store.errors import BadAddress, NotEncrypted, StoreMissing
from store.objects.probe import Conditions

GOOD = Conditions(create=True, match=True, quoted=False, why="")


@pytest.fixture(autouse=True)
def _no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "default_config_file", lambda: tmp_path / "absent.toml")


def settings(tmp_path: Path, **more: str) -> Settings:
    flags = {"cache.dir": str(tmp_path / "cache")} | {name.replace("_", ".", 1): value for name, value in more.items()}
    return load(flags=flags, environ={})


def test_what_a_probe_found_is_remembered_for_a_day(tmp_path: Path) -> None:
    note = tmp_path / "cache" / "a.json"
    write_conditions(note, GOOD, clock=lambda: 1000.0)
    assert read_conditions(note, clock=lambda: 1000.0 + 86_399) == GOOD
    assert read_conditions(note, clock=lambda: 1000.0 + 86_400) is None
    assert read_conditions(note, clock=lambda: 999.0) is None  # the clock was put back


def test_a_store_that_failed_the_probe_is_probed_again(tmp_path: Path) -> None:
    write_conditions(tmp_path / "a.json", GOOD._replace(match=False, why="ignored"))
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"create": true}', '{"time": "x"}', "\xff"])
def test_damaged_notes_only_mean_another_probe(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    assert read_conditions(tmp_path / "a.json") is None


def test_a_note_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_conditions(tmp_path / "file" / "a.json", GOOD)
    assert read_conditions(tmp_path / "file" / "a.json") is None


def test_the_default_store_is_made_only_when_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "default_store", lambda: tmp_path / "store")
    with pytest.raises(StoreMissing):
        open_store(settings(tmp_path))
    made = open_store(settings(tmp_path), Options(create=True)).root
    assert open_store(settings(tmp_path)).root.store == made.store


def test_a_named_store_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        open_store(settings(tmp_path, store_url=str(tmp_path / "named")), Options(create=True))
    assert not (tmp_path / "named").exists()


def test_a_key_for_a_plain_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "default_store", lambda: tmp_path / "store")
    with pytest.raises(NotEncrypted, match="there is no store yet"):
        open_store(settings(tmp_path, store_key_file="/k"), Options(create=True))
    open_store(settings(tmp_path), Options(create=True)).objects.close()
    with pytest.raises(NotEncrypted, match="gives a key for it"):
        open_store(settings(tmp_path, store_key_file="/k"), Options(create=True))


def test_clear_text_to_another_machine_needs_permission(tmp_path: Path) -> None:
    url = "s3://bucket?endpoint=http://192.0.2.1:9000"
    with pytest.raises(BadAddress, match="--insecure-store"):
        stores.connect(settings(tmp_path, store_url=url), Options(), create=False)
    objects, _ = stores.connect(settings(tmp_path, store_url=url, store_insecure="true"), Options(), create=False)
    objects.close()
