"""The commands: what they print where, how they exit, and what they say about mistakes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli import main
from gateway.cli.common import columns, spell_bytes, spell_count, spell_json, spell_time
from gateway.errors import GatewayError
from gateway.exits import EXIT_CODES, exit_code
from store import errors

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"a" * 1000)
    (source / "sub" / "run").write_bytes(b"#!/bin/sh\n")
    (source / "sub" / "run").chmod(0o755)
    (source / "link").symlink_to("a.txt")
    (source / os.fsdecode(b"odd\xff\n")).write_bytes(b"")
    return source


class Cli:
    """Runs command lines as the program does."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.err = ""

    def __call__(self, *arguments: str | Path, exits: int = 0) -> str:
        code = main.run([str(argument) for argument in arguments])
        out, self.err = self._capfd.readouterr()
        assert code == exits, self.err
        assert "Traceback" not in self.err
        return out

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capfd)


@pytest.fixture
def published(cli: Cli, folder: Path) -> str:
    """Return the state of `data:1.0.0` and `data:latest` in the embedded store."""
    state: str = cli.json("push", folder, "-t", "data:1.0.0", "-t", "data:latest", "-m", "first")["manifest"]
    return state


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    for below in kind.__subclasses__():
        if below.__subclasses__():
            yield from leaves(below)
        else:
            yield below


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def test_every_error_of_the_store_has_an_exit_code_of_its_own_choice() -> None:
    ours = [leaf for leaf in leaves(errors.StoreError) if leaf.__module__ == "store.errors"]
    assert len(ours) > 25
    for leaf in (*ours, *leaves(GatewayError)):
        assert leaf in EXIT_CODES, leaf


def test_exit_codes_lie_in_their_documented_range() -> None:
    assert set(EXIT_CODES.values()) <= set(range(1, 8))
    assert exit_code(RuntimeError()) == 1


@pytest.mark.parametrize("name", [name for name, _ in commands(main.cli)])
def test_help_of_every_command_has_an_example_of_it(cli: Cli, name: str) -> None:
    text = cli(*name.split(), "--help")
    assert "\nExample:\n" in text.replace("  Example:", "Example:")
    assert f"aetherfs {name}" in text


def test_each_command_is_in_the_operations_page() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, command in commands(main.cli):
        assert isinstance(command, click.Group) or f"`aetherfs {name}" in page, name


def test_version_is_a_calendar_version(cli: Cli) -> None:
    year, month, day = cli("version").strip().split(".")
    assert (int(year) >= 2026, 1 <= int(month) <= 12, 1 <= int(day) <= 31) == (True, True, True)
    assert cli.json("version") == {"version": f"{year}.{month}.{day}"}


def test_version_imports_neither_the_s3_client_nor_the_settings() -> None:
    program = "import sys; from gateway.cli.main import run; run(['version']); print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT
    ).stdout
    assert "'gateway.cli.version'" in modules
    for heavy in ("boto3", "pydantic", "rich", "store"):
        assert f"'{heavy}'" not in modules


def test_a_push_into_a_folder_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    program = (
        "import sys; from gateway.cli.main import run; store = sys.argv[1]; "
        "codes = [run(['--store', store, 'init']), run(['--store', store, 'push', sys.argv[2], '-t', 'ds:1.0.0'])]; "
        "print(codes, sorted(sys.modules))"
    )
    home = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store"), str(tmp_path / "data")],
        capture_output=True, text=True, check=True, cwd=PROJECT, env=os.environ | home,
    ).stdout  # fmt: skip
    modules = said.splitlines()[-1]
    assert modules.startswith("[0, 0] ")
    for heavy in ("boto3", "pydantic", "rich", "importlib.metadata"):
        assert f"'{heavy}'" not in modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(cli: Cli, shell: str) -> None:
    assert "_AETHERFS_COMPLETE" in cli("completion", shell)


def test_completion_of_an_unknown_shell_is_wrong_usage(cli: Cli) -> None:
    cli("completion", "csh", exits=2)
    assert "csh" in cli.err


def test_config_check_accepts_the_sample(cli: Cli) -> None:
    assert cli("config", "check", PROJECT / "conf" / "aetherfs.toml").endswith("all is well\n")


def test_config_check_names_an_unknown_key_and_its_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[nfs]\nlissten = 1\n")
    assert cli("config", "check", tmp_path / "c.toml", exits=2) == ""
    assert "line 2: there is no setting 'nfs.lissten'; the nearest is 'nfs.listen'" in cli.err


def test_unknown_command_is_wrong_usage(cli: Cli) -> None:
    assert cli("pusch", exits=2) == ""
    assert "pusch" in cli.err


def test_a_server_is_refused_with_the_reason(cli: Cli) -> None:
    cli("--server", "https://gateway", "ls", exits=2)
    assert "--server: this command works on stores directly" in cli.err


def test_push_reports_what_it_did(cli: Cli, folder: Path) -> None:
    done = cli.json("push", folder, "-t", "data:1.0.0", "-t", "data:latest")
    assert done["manifest"].startswith("b3-")
    assert len(done["manifest"]) == 3 + 64
    assert (done["files"], done["bytes"], done["new_bytes"], done["changed"]) == (3, 1010, 1010, True)
    assert done["puts"] > 0
    again = cli.json("push", folder, "-t", "data:1.0.0")
    assert (again["manifest"], again["new_bytes"], again["changed"]) == (done["manifest"], 0, False)


def test_push_writes_its_result_to_stdout_alone_and_shows_no_progress_off_a_terminal(cli: Cli, folder: Path) -> None:
    out = cli("push", folder, "-t", "data:1.0.0")
    assert out.startswith("data:1.0.0 is now b3-")
    assert cli.err == ""


def test_push_of_a_version_with_other_content_is_a_conflict(cli: Cli, folder: Path, published: str) -> None:
    (folder / "a.txt").write_bytes(b"changed, and longer")
    assert cli("push", folder, "-t", "data:1.0.0", exits=5) == ""
    assert published[:15] in cli.err


def test_a_conflict_of_times_alone_is_told_as_such(cli: Cli, folder: Path, published: str) -> None:
    os.utime(folder / "a.txt", ns=(0, 1_700_000_000 * 10**9))
    cli("push", folder, "-t", "data:1.0.0", exits=5)
    assert "nothing but times differs (of a.txt first)" in cli.err
    (folder / "a.txt").write_bytes(b"other")
    cli("push", folder, "-t", "data:1.0.0", exits=5)
    assert "nothing but times" not in cli.err


def test_push_with_tags_of_two_datasets_is_wrong_usage(cli: Cli, folder: Path) -> None:
    cli("push", folder, "-t", "data:1.0.0", "-t", "other:1.0.0", exits=2)


def test_push_of_what_is_not_there_is_not_found(cli: Cli, tmp_path: Path) -> None:
    cli("push", tmp_path / "none", "-t", "data:1.0.0", exits=3)


def test_dry_run_writes_nothing(cli: Cli, folder: Path) -> None:
    done = cli.json("push", folder, "-t", "data:1.0.0", "--dry-run")
    assert (done["changed"], done["new_bytes"]) == (False, 1010)
    assert cli.json("ls") == {"datasets": []}


def test_push_refuses_what_it_cannot_keep_and_leaves_it_out_when_told(cli: Cli, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    cli("push", folder, "-t", "data:1.0.0", exits=4)
    assert "pipe" in cli.err
    done = cli.json("push", folder, "-t", "data:1.0.0", "--skip-unreadable")
    assert [entry["path"] for entry in done["skipped"]] == ["pipe"]
    assert "left out: pipe" in cli.err


def test_expected_channel_that_moved_is_a_conflict(cli: Cli, folder: Path, published: str) -> None:
    cli("push", folder, "-t", "data:latest", "--expect", f"latest={published}")
    (folder / "a.txt").write_bytes(b"b")
    cli("push", folder, "-t", "data:latest", "--expect", "latest=b3-000000000000", exits=5)
    cli("push", folder, "-t", "data:latest", "--expect", "stable=b3-000000000000", exits=2)


@pytest.mark.parametrize("state", ["zzz", "b3-0123", "0123456789AB", "0" * 65])
def test_an_expectation_that_is_no_state_is_wrong_usage(cli: Cli, folder: Path, published: str, state: str) -> None:
    cli("tag", "data:1.0.0", "data:qa", "--expect", state, exits=2)
    cli("push", folder, "-t", "data:latest", "--expect", f"latest={state}", exits=2)
    assert "12 to 64 lower-case hex digits" in cli.err


def test_a_version_is_not_rolled_back(cli: Cli, published: str) -> None:
    cli("rollback", "data:1.0.0", exits=2)
    assert "a version never moves" in cli.err


def test_ls_goes_from_datasets_to_tags_to_entries(cli: Cli, published: str) -> None:
    assert cli("ls") == "data\n"
    tags = cli.json("ls", "data")["tags"]
    assert [(tag["tag"], tag["kind"], tag["manifest"]) for tag in tags] == [
        ("1.0.0", "version", published),
        ("latest", "channel", published),
    ]
    entries = {entry["name"]: entry for entry in cli.json("ls", "data:1.0.0")["entries"]}
    assert set(entries) == {"a.txt", "link", "odd\ufffd\n", "sub"}
    assert entries["odd\ufffd\n"]["name_quoted"] == "odd%FF%0A"
    assert (entries["link"]["target"], entries["link"]["target_quoted"]) == ("a.txt", "a.txt")
    (run,) = cli.json("ls", f"data@{published}/sub/")["entries"]
    assert (run["name"], run["executable"], run["size"]) == ("run", True, 10)


def test_ls_escapes_names_that_are_no_text(cli: Cli, published: str) -> None:
    assert "odd\\xff\\n" in cli("ls", "data:1.0.0")


@pytest.mark.parametrize("place", ["none", "data:2.0.0", "data:1.0.0/none", "data:1.0.0/a.txt/below"])
def test_what_is_not_there_is_exit_3(cli: Cli, published: str, place: str) -> None:
    assert cli("ls", place, exits=3) == ""
    assert cli.err.startswith("aetherfs: ")


@pytest.mark.parametrize("place", ["Data", "data:b3-1", "data@^", "@me/x", ":1.0.0"])
def test_what_is_no_reference_is_wrong_usage(cli: Cli, place: str) -> None:
    cli("show", place, exits=2)


def test_show_tells_what_a_reference_means(cli: Cli, published: str) -> None:
    shown = cli.json("show", "data@^1")
    assert (shown["manifest"], shown["tag"], shown["kind"]) == (published, "1.0.0", "version")
    assert (shown["tags"], shown["message"]) == (["1.0.0", "latest"], "first")


def test_cat_writes_a_files_bytes(cli: Cli, published: str) -> None:
    assert cli("cat", "data:1.0.0/sub/run") == "#!/bin/sh\n"
    assert cli("cat", "data/a.txt") == "a" * 1000
    assert cli("cat", "data/odd\udcff\n") == ""
    assert cli("cat", "data/sub", exits=2) == ""
    assert cli("cat", "data/none", exits=3) == ""


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("data:1.0.0/sub", "not a file: sub, a folder"),
        ("data:1.0.0", "not a file: data:1.0.0, a folder"),
        ("data:1.0.0/link", "not a file: link, a symbolic link to a.txt"),
    ],
)
def test_cat_of_what_is_no_file_says_what_it_is(cli: Cli, published: str, place: str, why: str) -> None:
    assert cli("cat", place, exits=2) == ""
    assert why in cli.err


def test_cat_below_a_file_names_the_file(cli: Cli, published: str) -> None:
    assert cli("cat", "data:1.0.0/sub/run/below", exits=3) == ""
    assert "not a folder: run" in cli.err


def test_pull_makes_a_folder_equal_and_a_second_one_changes_nothing(
    cli: Cli, published: str, folder: Path, tmp_path: Path
) -> None:
    done = cli.json("pull", "data:1.0.0", tmp_path / "out")
    assert (done["manifest"], done["changed"], done["files"], done["bytes"]) == (published, True, 3, 1010)
    assert (tmp_path / "out" / "a.txt").read_bytes() == (folder / "a.txt").read_bytes()
    assert os.readlink(tmp_path / "out" / "link") == "a.txt"
    assert os.access(tmp_path / "out" / "sub" / "run", os.X_OK)
    again = cli.json("pull", "data", tmp_path / "out")
    assert (again["changed"], again["fetched_bytes"]) == (False, 0)


def test_pull_refuses_to_destroy_what_no_pull_put_there_unless_forced(cli: Cli, published: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    cli("pull", "data:1.0.0", tmp_path / "out", exits=4)
    assert "mine" in cli.err
    assert (tmp_path / "out" / "mine").read_text() == "precious"
    assert cli("pull", "data:1.0.0", tmp_path / "out", "--force").startswith(f"{tmp_path / 'out'} is now b3-")
    assert not (tmp_path / "out" / "mine").exists()


def test_pull_of_a_part_takes_only_what_matches(cli: Cli, published: str, tmp_path: Path) -> None:
    assert cli.json("pull", "data", tmp_path / "out", "--include", "sub/*")["files"] == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sub"]


def test_tag_untag_and_rollback_change_names_and_log_tells(cli: Cli, folder: Path, published: str) -> None:
    (folder / "a.txt").write_bytes(b"second")
    second = cli.json("push", folder, "-t", "data:latest")["manifest"]
    assert cli.json("tag", "data:1.0.0", "data:stable")["changed"] is True
    assert cli.json("tag", "data:1.0.0", "data:stable")["changed"] is False
    cli("tag", "data:latest", "data:stable", "--expect", second, exits=5)
    assert cli.json("rollback", "data:latest")["manifest"] == published
    assert cli.json("untag", "data:stable")["removed"] is True
    cli("untag", "data:stable", exits=3)
    entries = cli.json("log", "data")["entries"]
    assert [entry["op"] for entry in entries] == ["untag", "rollback", "tag", "push", "push"]
    assert [entry["manifest"] for entry in cli.json("log", "data:latest")["entries"]] == [published, second, published]
    assert len(cli("log", "data", "-n", "2").splitlines()) == 2


def test_tagging_in_another_dataset_is_wrong_usage(cli: Cli, published: str) -> None:
    cli("tag", "data:1.0.0", "other:1.0.0", exits=2)
    cli("tag", "data:1.0.0", "data", exits=2)


def test_serve_refuses_a_portmapper_that_has_nothing_to_tell(cli: Cli) -> None:
    cli("serve", "--portmap", "--http", "127.0.0.1:0", "--nfs", "off", "--grpc", "off", exits=2)
    assert "nfs.portmap: NFS is off" in cli.err


def test_serve_with_everything_off_is_wrong_usage(cli: Cli) -> None:
    cli("serve", "--http", "off", "--nfs", "off", "--grpc", "off", exits=2)
    assert "nothing to serve" in cli.err


def test_serve_off_loopback_is_refused_with_the_reason(cli: Cli) -> None:
    for on, off in (("--http", "--grpc"), ("--grpc", "--http")):
        cli("serve", on, "0.0.0.0:0", "--nfs", "off", off, "off", exits=2)
        assert f"{on[2:]}: 0.0.0.0:0 can be reached" in cli.err
        assert "without authentication" in cli.err
    assert "--insecure" in cli.err


def test_a_mistake_of_ours_is_one_line_and_a_traceback_only_when_asked_for(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> str:
        raise RuntimeError("odd")

    monkeypatch.setattr("importlib.metadata.version", fail)
    assert main.run(["version"]) == 1
    assert capfd.readouterr().err == (
        "aetherfs: RuntimeError: odd (a mistake of ours: run it again with -vv and report what it says)\n"
    )
    assert main.run(["version", "-vv"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_an_interrupt_is_exit_130_and_silent(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.metadata.version", interrupt)
    assert main.run(["version"]) == 130
    assert capfd.readouterr().err.strip() == ""


@pytest.mark.parametrize(
    ("size", "spelt"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB"), (1 << 70, "1048576.0 PiB")],
)
def test_sizes_are_spelt_for_people(size: int, spelt: str) -> None:
    assert spell_bytes(size) == spelt


@pytest.mark.parametrize(
    ("time_ns", "spelt"),
    [(0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (2**63 - 1, "2262-04-11T23:47:16Z")],
)
def test_times_are_spelt_in_utc(time_ns: int, spelt: str) -> None:
    assert spell_time(time_ns) == spelt


@pytest.mark.parametrize(
    ("text", "read"),
    [("a\udcffb", "a\ufffdb"), ("\\udcff", "\\udcff"), ("\\\udcff", "\\\ufffd"), ("😀é", "😀é"), ("\ud83d", "\ufffd")],
)
def test_json_holds_characters_alone(text: str, read: str) -> None:
    assert json.loads(spell_json({"name": text})) == {"name": read}


def test_counts_are_spelt_for_people() -> None:
    assert [spell_count(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [spell_count(n, "entry") for n in (1, 3)] == ["1 entry", "3 entries"]


def test_columns_line_up_without_cutting() -> None:
    assert columns([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc  d"]
    assert columns([]) == []
