"""Turns whatever ended a command into one message on stderr and an exit code. Tracebacks only with -vv."""

import io
import os
import sys
import traceback

import click

from gateway.config import ConfigError
from gateway.errors import GatewayError
from gateway.exits import INTERRUPTED, OTHER, exit_code
from gateway.hush import without_secrets
from gateway.lifecycle import ServeError
from store.errors import StoreError, StoreFull, printable
from store.objects.local_files import FULL, free_bytes

EXPLAINED = 2  # verbosity from which the traceback is shown


def report(error: BaseException, *, verbosity: int) -> int:
    """Say what happened and return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone: what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER
    if verbosity >= EXPLAINED:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        said = io.StringIO()
        error.show(file=said)
        click.echo(without_secrets(said.getvalue()), err=True, nl=False)
        return error.exit_code
    if isinstance(error, ServeError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, StoreError | ConfigError | GatewayError):
        _say(str(error))
        return exit_code(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return report(_full(error), verbosity=0)
    if isinstance(error, OSError) and error.strerror:
        name = f": {printable(os.fsencode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        _say(f"{error.strerror}{name}")
        return OTHER
    hint = "" if verbosity >= EXPLAINED else " (a mistake of ours: run it again with -vv and report what it says)"
    _say(f"{type(error).__name__}: {error}{hint}")
    return OTHER


def _full(error: OSError) -> StoreFull:
    """Name the place that is full; a write that fails does not say which file it was to."""
    if not isinstance(error.filename, str | bytes):
        return StoreFull("a folder that is written to: the cache, the state, or where the result goes")
    name = os.fsdecode(error.filename)
    return StoreFull(printable(name), free_bytes(os.path.dirname(os.path.abspath(name))))


def _say(message: str) -> None:
    click.echo(f"aetherfs: {without_secrets(message)}", err=True)
