"""Writes the pages of docs/reference from the program itself: commands, settings, exit codes.

`make docs` runs it; a test fails where a page is not what it would write. The pages hold what the program says of
itself, and nothing else: what has to be explained stands in docs/operations.md. Threads: a program of its own.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gateway import exits
from gateway.cli.main import cli
from gateway.config import table

WIDTH: Final = 100  # characters of a line of help
WRITTEN: Final = "<!-- Written by `make docs` from the program: change it there. -->"


def pages() -> dict[str, str]:
    """Return every page's text, by its file's name."""
    return {"commands.md": _commands(), "settings.md": _settings(), "exit-codes.md": _exit_codes()}


def _commands() -> str:
    parts = [f"# Commands\n\n{WRITTEN}\n"]
    for name, command in sorted(_all(cli, "aetherfs")):
        context = click.Context(
            command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=["-h", "--help"]
        )
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _all(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            if below is not None:
                yield from _all(below, f"{name} {inner}")


def _settings() -> str:
    rows = ["| setting | environment | default | unit | is |", "|---|---|---|---|---|"]
    for setting in table():
        default = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        shown = f"`{default}`" if default != "" else "none"
        rows.append(f"| `{setting.name}` | `{setting.environment}` | {shown} | {setting.unit} | {setting.help} |")
    return "\n".join([f"# Settings\n\n{WRITTEN}\n", *rows, ""])


def _exit_codes() -> str:
    rows = ["| code | ends so | when |", "|---|---|---|"]
    for kind, code in sorted(exits.EXIT_CODES.items(), key=lambda row: (row[1], row[0].__name__)):
        when = (kind.__doc__ or "").partition("\n")[0]
        rows.append(f"| {code} | `{kind.__name__}` | {when} |")
    return "\n".join([f"# Exit codes\n\n{WRITTEN}\n", *rows, ""])


def main() -> None:
    """Write the pages into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
