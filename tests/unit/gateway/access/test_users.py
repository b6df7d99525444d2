"""The file of users: read anew, changed whole, by one writer at a time, and nobody else's to write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.access.users import UserFile, add_user, change_user, read_users, remove_user
from gateway.config import ConfigError
from gateway.errors import UserMissing, UserTaken
from tests.unit.auth.test_hashes import QUICK, SMALL


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    add_user(path, "ada", QUICK)
    return path


def test_a_new_file_is_its_owner_s_alone_and_has_its_first_user(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == f"ada:{QUICK}\n"
    assert [*file.parent.iterdir()] == [file]  # nothing else is left there


def test_users_are_added_changed_and_removed(file: Path) -> None:
    add_user(file, "bob", SMALL)
    change_user(file, "ada", SMALL)
    assert read_users(file).get("ada") == read_users(file).get("bob") == SMALL
    remove_user(file, "ada")
    assert read_users(file).names == ("bob",)


def test_a_user_is_not_added_twice_and_none_changed_that_is_not_there(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UserTaken, match="'ada' already"):
        add_user(file, "ada", SMALL)
    with pytest.raises(UserMissing, match="no user 'bob'"):
        change_user(file, "bob", SMALL)
    with pytest.raises(UserMissing):
        remove_user(file, "bob")
    with pytest.raises(UserMissing):
        remove_user(file.with_name("none"), "bob")
    assert file.read_bytes() == before
    assert not file.with_name("none").exists()


def test_a_changed_file_keeps_its_mode_owner_and_link(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 0, 4321)
    group = file.stat().st_gid
    link = tmp_path / "sub" / "link"
    link.parent.mkdir()
    link.symlink_to(file)
    add_user(link, "bob", SMALL)
    assert link.is_symlink()
    assert read_users(file).names == ("ada", "bob")
    assert (file.stat().st_mode & 0o777, file.stat().st_gid) == (0o640, group)


def test_a_file_that_cannot_be_used_is_left_as_it_is(file: Path) -> None:
    file.write_text(f"ada:{QUICK}\nbroken\n")
    for change in (lambda: add_user(file, "bob", SMALL), lambda: remove_user(file, "ada"), lambda: UserFile(file)):
        with pytest.raises(ConfigError, match="line 2: no colon"):
            change()
    file.write_text(f"ada:{QUICK}\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod go-w"):
        add_user(file, "bob", SMALL)
    assert file.read_text() == f"ada:{QUICK}\n"


def test_a_write_that_fails_leaves_nothing_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        add_user(file, "bob", SMALL)
    assert file.read_bytes() == before
    assert [*file.parent.iterdir()] == [file]


def test_writers_at_one_time_lose_nothing(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gateway.access.users import add_user\n"
        f"for n in range(20): add_user(Path({str(file)!r}), f'user{{sys.argv[1]}}-{{n}}', {QUICK!r})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(read_users(file).names) == 61


def test_a_gateway_sees_changes_and_keeps_what_was_good(file: Path) -> None:
    users = UserFile(file)
    assert [*users.users.names] == ["ada"]
    add_user(file, "bob", SMALL)
    assert users.refresh()
    assert [*users.users.names] == ["ada", "bob"]
    with capture_logs() as logs:
        file.write_text(f"eve:{QUICK}\nada:plain\n")
        assert not users.refresh()
        assert not users.refresh()
    assert [*users.users.names] == ["ada", "bob"]
    assert [line["why"].partition(", ")[2].partition(": bcrypt")[0] for line in logs] == [
        "line 2: no hash of a known kind"
    ]
    file.unlink()
    assert not users.refresh()
    assert [*users.users.names] == ["ada", "bob"]


def test_a_gateway_says_what_to_do_where_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`aetherfs user add NAME --file"):
        UserFile(tmp_path / "none")


def test_a_file_that_everybody_may_read_is_taken_with_a_warning(file: Path) -> None:
    file.chmod(0o644)
    with capture_logs() as logs:
        assert UserFile(file).users.names == ("ada",)
    assert "chmod o-r" in logs[0]["event"]
