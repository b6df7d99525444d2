"""Nothing is written for a manifest that lies, and the exchange that shows a tree does what it says."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from store.digest import Digest
from store.errors import ObjectCorrupt
from store.manifest import layout
from store.objects.base import Buffer
from store.pull.exchange import exchange
from store.pull.pull import PullOptions, pull
from store.push.push import push
from store.repository import Repository
from tests.support.folders import held, latest, new_repository


def publish_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: bytes, new: bytes, *, honest_id: bool = True
) -> Repository:
    """Publish one file `zz` and one link, with bytes of the content sections replaced as an attacker would."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "zz").write_text("text")
    (source / "zzz").symlink_to("target")
    repository = new_repository()
    real = layout.manifest_id

    def lying(header: Buffer, sections: Iterable[Buffer]) -> Digest:
        parts = tuple(sections)
        before = real(header, parts)
        for part in parts:
            if isinstance(part, bytearray):
                part[:] = part.replace(old, new)
        return real(header, parts) if honest_id else before

    with monkeypatch.context() as patched:
        patched.setattr(layout, "manifest_id", lying)
        push(repository, source, "ds", ["latest"], tmp_path / "push-state")
    return repository


def refused(repository: Repository, tmp_path: Path) -> str:
    """Pull, expect that the manifest is refused, and see that nothing was written at all."""
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_text("mine")
    before = held(tmp_path / "dest")
    there = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ObjectCorrupt) as caught:
        pull(repository, latest(repository), tmp_path / "dest", tmp_path / "pull-state", PullOptions(force=True))
    assert held(tmp_path / "dest") == before
    assert {path.name for path in tmp_path.iterdir()} - there == {"pull-state"}
    assert list((tmp_path / "pull-state" / "pull").iterdir()) == []
    return caught.value.why


@pytest.mark.parametrize("name", [b"..", b"./", b"/z", b"z\0"])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: bytes
) -> None:
    repository = publish_with(monkeypatch, tmp_path, b"zzzzz", name + b"zzz")
    assert "does not belong" in refused(repository, tmp_path)


def test_a_link_with_a_target_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = publish_with(monkeypatch, tmp_path, b"target", b"tar\0et")
    assert "a target that cannot be" in refused(repository, tmp_path)


def test_content_that_does_not_match_the_id_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = publish_with(monkeypatch, tmp_path, b"target", b"tarmac", honest_id=False)
    assert refused(repository, tmp_path) == "its content does not match its id"


def test_an_honest_manifest_made_the_same_way_is_pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = publish_with(monkeypatch, tmp_path, b"target", b"tarmac")
    pull(repository, latest(repository), tmp_path / "dest", tmp_path / "pull-state")
    assert os.readlink(tmp_path / "dest" / "zzz") == "tarmac"


def test_two_folders_are_exchanged(tmp_path: Path) -> None:
    (tmp_path / "one" / "first").mkdir(parents=True)
    (tmp_path / "two" / "second").mkdir(parents=True)
    if not exchange(os.fsencode(tmp_path / "one"), os.fsencode(tmp_path / "two")):
        pytest.skip("this file system cannot exchange folders; put TMPDIR on ext4")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["second"]
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["first"]


def test_an_exchange_with_nothing_fails_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(os.fsencode(tmp_path / "one"), os.fsencode(tmp_path / "two"))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
