"""Lets `python -m gateway.cli` stand for `aetherfs`, where the script is not on the path."""

from gateway.cli.main import main

main()
