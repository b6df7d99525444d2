"""What all commands share: the options that say which store, how results and remarks are written.

Results go to stdout, remarks to stderr. The common options may stand before or after the command's name.
"""

import contextlib
import dataclasses
import datetime
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:  # importing these takes longer than some commands run
    from gateway.client import Server
    from gateway.config import Settings
    from gateway.stores import Opened
    from store.repository import Repository

SERVER_VARIABLE: Final = "AETHERFS_SERVER"

# In JSON's escapes: a backslash, a pair that stands for one character, or half of one alone (6 characters long).
_ESCAPES: Final = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\ud[89a-f][0-9a-f]{2}")


@dataclasses.dataclass
class Common:
    """The common options of one command line."""

    store: str | None = None
    server: str | None = None
    config: Path | None = None
    insecure_store: bool = False
    insecure_server: bool = False
    key_file: Path | None = None
    verbosity: int = 0
    quiet: bool = False
    json: bool = False

    @property
    def log_level(self) -> int:
        """Return the level for `logging`."""
        if self.quiet:
            return logging.ERROR
        return (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbosity, 2)]

    @property
    def server_url(self) -> str | None:
        """Return the gateway that was named instead of a store, as it was written; the command line wins."""
        if self.server is not None:
            return self.server
        return None if self.store is not None else os.environ.get(SERVER_VARIABLE) or None

    def server_client(self) -> "Server | None":
        """Return the gateway that was named, with the login for it; `None`: this command is to work on a store.

        Only commands ask that can do their work through a gateway.
        """
        if self.server_url is None:
            return None
        from gateway.cli.credentials import bearer_for
        from gateway.client import Server, parse_server

        if self.server is not None and self.store is not None:
            raise click.UsageError("--server and --store exclude each other: a gateway, or a store")
        url = parse_server(self.server_url, insecure=self.insecure_server)
        return Server(url, bearer_for(url))

    def settings(self, **flags: str | None) -> "Settings":
        """Find the settings; `flags` are this command's own (`http_listen` for `http.listen`)."""
        from gateway.config import ConfigError, load

        if self.server_url is not None:  # commands that can talk to one ask for `server_client` first
            where = "--server" if self.server is not None else SERVER_VARIABLE
            raise ConfigError(f"{where}: this command works on stores directly: give --store instead")
        given = {name.replace("_", ".", 1): value for name, value in flags.items() if value is not None}
        if self.store is not None:
            if not self.store.strip():  # mostly an unset variable's; the default store would be a surprise
                raise ConfigError("--store: the address is empty; leave the option away for the default store")
            given["store.url"] = self.store
        if self.insecure_store:
            given["store.insecure"] = "true"
        if self.key_file is not None:
            given["store.key_file"] = os.fspath(self.key_file)
        return load(flags=given, file=self.config)

    @contextlib.contextmanager
    def opened(self, *, single_writer: bool = False) -> "Iterator[Opened]":
        """Open the store for as long as the context lasts; the embedded default one is made at first use."""
        from gateway.stores import Options, open_store

        options = Options(create=True, single_writer=single_writer, on_wait=self.waiting, on_long=self.remark)
        opened = open_store(self.settings(), options)
        with contextlib.closing(opened.objects):
            yield opened

    @contextlib.contextmanager
    def repository(self, *, single_writer: bool = False) -> "Iterator[Repository]":
        """Open the store as commands use it; see `opened`."""
        from store.repository import Repository

        with self.opened(single_writer=single_writer) as opened:
            yield Repository(opened.objects, opened.root, seen=opened.seen)

    def remark(self, text: str) -> None:
        """Say something that is not the result."""
        if not self.quiet:
            click.echo(text, err=True)

    def result(self, document: object, lines: "list[str] | str") -> None:
        """Write the result: as one JSON document if that was asked for, else as lines for people."""
        if self.json:
            click.echo(spell_json(document, indent=2 if sys.stdout.isatty() else None))
        else:
            for line in [lines] if isinstance(lines, str) else lines:
                click.echo(line)

    def waiting(self, why: str, seconds: float) -> None:
        """Say why a request is going to be repeated."""
        self.remark(f"{why}; trying again in {seconds:.1f} s")


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False, 0) and param.name is not None:
        setattr(ctx.ensure_object(Common), param.name.removeprefix("common_"), value)


def _option(*names: str, **kind: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_keep, **kind)


COMMON_OPTIONS: Final = (
    _option("--store", metavar="ADDRESS", help="The store: a folder, or s3://BUCKET/PREFIX."),
    _option("--server", metavar="URL", help="A gateway to talk to instead, by those commands that can."),
    _option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file."),
    _option(
        "--key-file", type=click.Path(path_type=Path), metavar="FILE", help="The file with an encrypted store's key."
    ),
    _option("--insecure-store", is_flag=True, help="Allow an http:// S3 endpoint on another machine."),
    _option("--insecure-server", is_flag=True, help="Log in to an http:// gateway on another machine."),
    _option("-v", "--verbose", "verbosity", count=True, help="Say more; -vv says most."),
    _option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors."),
)
JSON_OPTION: Final = _option("--json", is_flag=True, help="Print the result as one JSON document.")


def keep_examples(text: str | None) -> str | None:
    """Keep the lines of a help text's example apart, which would be filled into one paragraph otherwise."""
    return text and inspect.cleandoc(text).replace("Example:\n", "\b\nExample:\n")


class Command(click.Command):
    """A command that takes the common options too."""

    offers_json = True

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.help = keep_examples(self.help)
        own = {name for param in self.params for name in param.opts}
        offered = (JSON_OPTION, *COMMON_OPTIONS) if self.offers_json else COMMON_OPTIONS
        self.params += [option for option in offered if not own & set(option.opts)]


class PlainCommand(Command):
    """A command whose result cannot be one JSON document: bytes, a script, a line that says ready."""

    offers_json = False


pass_common = click.make_pass_decorator(Common, ensure=True)


class LocalPath(click.Path):
    """A path on this machine. The empty one is a mistake, mostly an unset variable's, and never the present folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or fail as wrong usage."""
        if not os.fspath(value):
            self.fail("the path is empty; the present folder is written .", param, ctx)
        return super().convert(value, param, ctx)


def spell_json(document: object, *, indent: int | None = None) -> str:
    """Write JSON that every program can read: bytes of names that are no text (lone surrogates here) become U+FFFD."""
    text = json.dumps(document, indent=indent)
    return _ESCAPES.sub(lambda found: "\\ufffd" if len(found[0]) == 6 else found[0], text) if "\\ud" in text else text


def spell_count(number: int, thing: str) -> str:
    """Write how many there are of something: `1 file`, `2 files`, `0 entries`."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing.removesuffix('y')}ies" if thing.endswith("y") else f"{number} {thing}s"


def spell_bytes(count: int) -> str:
    """Write a number of bytes for people: `831 B`, `12.3 MiB`."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def spell_time(time_ns: int) -> str:
    """Write a time (ns since 1970, UTC) in ISO 8601, to the second."""
    try:
        moment = datetime.datetime.fromtimestamp(time_ns // 10**9, datetime.UTC)
    except (OverflowError, ValueError):  # a file's time may lie outside the calendar
        return f"@{time_ns / 10**9:.0f}"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def state_name(manifest: str) -> str:
    """Write a manifest's id (hex) as it is named everywhere."""
    return f"b3-{manifest}"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Line up rows of equal length for people; nothing is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def publisher() -> str:
    """Say who is at work, for a dataset's history: the login name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"
