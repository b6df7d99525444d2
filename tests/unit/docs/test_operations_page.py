"""docs/operations.md has every command, option, setting and exit code, and none that is not there."""

import re

import click

from gateway import exits
from gateway.cli.common import COMMON_OPTIONS
from gateway.cli.main import COMMANDS, cli
from gateway.config import SHORT_NAMES, Settings, spelled, table
from tests.unit.docs.pages import marked, rows, section, text

PAGE = "docs/operations.md"
COMMON = {name for option in COMMON_OPTIONS for name in option.opts}


def own_options(command: click.Command) -> set[str]:
    """Return the long names of a command's options, without the common ones and what every command has."""
    names = {max(option.opts, key=len) for option in command.params if isinstance(option, click.Option)}
    return names - COMMON - {"--json", "--help"}


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": command.commands[inner] for inner in command.commands}
        else:
            found[name] = command
    return found


def test_every_command_has_its_row() -> None:
    known = commands()
    shown = [re.match(r"`aetherfs ([a-z]+)( [a-z-]+)?", row[0]) for row in rows(section(PAGE, "Commands"))]
    names = [
        match[0][len("`aetherfs ") :] if match[0][len("`aetherfs ") :] in known else match[1]
        for match in shown
        if match
    ]
    assert sorted(names) == sorted(known)


def test_every_option_of_a_command_is_explained_below_its_name() -> None:
    shown: dict[str, set[str]] = {}
    for row in rows(section(PAGE, "Options")):
        for name in marked(row[0]):
            shown.setdefault(name, set()).update(re.findall(r"--[a-z0-9-]+", row[1]))
    assert shown == {name: own_options(command) for name, command in commands().items() if own_options(command)}


def test_every_common_option_is_named() -> None:
    page = section(PAGE, "Options")
    assert [option.opts for option in COMMON_OPTIONS if not any(f"`{name}" in page for name in option.opts)] == []


def test_commands_without_json_are_those_that_the_page_excepts() -> None:
    without = {
        name for name, command in commands().items() if not any("--json" in option.opts for option in command.params)
    }
    excepted = re.search(r"`--json` prints one JSON document; (.*?) have none", section(PAGE, "Options"), re.DOTALL)
    assert excepted is not None
    assert without == set(marked(excepted[1]))


def test_settings_and_defaults_are_those_of_the_table() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows(section(PAGE, "Settings")) if "." in row[0]}
    assert list(shown) == [setting.name for setting in table()]
    spelt = spelled(Settings())
    for setting in table():
        section_name, _, key = setting.name.rpartition(".")
        default = spelt[section_name][key]
        if default != "":
            assert shown[setting.name] == (str(default).lower() if isinstance(default, bool) else str(default))


def test_every_short_environment_name_is_told() -> None:
    page = text(PAGE)
    assert [name for name in (*SHORT_NAMES, "AETHERFS_CONFIG") if f"`{name}`" not in page] == []


def test_exit_codes_are_those_that_commands_end_with() -> None:
    shown = [int(row[0]) for row in rows(section(PAGE, "Exit codes"))]
    known = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert shown == sorted(known)
