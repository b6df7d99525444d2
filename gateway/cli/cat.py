"""`aetherfs cat`."""

import contextlib
import os
import sys
from typing import Final

import click

from gateway.cli.common import Common, PlainCommand, pass_common

STEP: Final = 4 << 20  # bytes read and written at a time
MEMORY: Final = 64 << 20  # bytes of plain chunks kept: read-ahead needs some


@click.command(cls=PlainCommand)
@click.argument("place", metavar="REF/PATH")
@pass_common
def cat(common: Common, place: str) -> None:
    """Write a file's content to stdout.

    Example:
      aetherfs cat maps:1.0.0/europe/cities.csv
    """
    from store.catalogue.refs import split_location
    from store.errors import IsAFolder, NotAFolder, printable
    from store.kinds import Kind
    from store.repository import Repository
    from store.vfs.opening import open_tree

    reference, path = split_location(place)
    with common.opened() as opened:
        state = Repository(opened.objects, opened.root, seen=opened.seen).catalogue.resolve(reference)
        tree = open_tree(opened.guard, opened.root, cache_memory=MEMORY, cache_dir=None, cache_disk=0)
        with contextlib.closing(tree):
            node, walked = tree.root(), str(reference)
            # By its id, not by its tag: a channel that moves meanwhile must not change what is read.
            for name in (*state.dataset.encode().split(b"/"), f"b3-{state.manifest}".encode()):
                node = tree.lookup(node, name)
            for name in filter(None, os.fsencode(path).split(b"/")):
                if node.kind is not Kind.FOLDER:
                    raise NotAFolder(walked)
                node, walked = tree.lookup(node, name), os.fsdecode(name)
            if node.kind is Kind.LINK:
                target = printable(tree.readlink(node))
                raise IsAFolder(f"{walked}, a symbolic link to {target}")
            if node.kind is Kind.FOLDER:
                raise IsAFolder(f"{walked}, a folder; write REF/PATH")
            offset = 0
            while True:
                views = tree.read(node, offset, STEP)
                for view in views:
                    sys.stdout.buffer.write(view)
                    offset += len(view)
                if offset >= node.size or not views:
                    break
            sys.stdout.buffer.flush()
