"""What a push would do, told by a dry run: objects it would write, and what its state shares with the tags there are.

Reads only. One thread.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from store.catalogue.head import TagState
from store.catalogue.refs import TagKind, fold
from store.errors import Corrupt, DatasetMissing, FeatureMissing, Missing
from store.layout import manifest_key
from store.manifest.blocktable import BlockTable
from store.manifest.build import Built
from store.repository import Repository

NEWEST: Final = 8  # tags that the new state is held against


class Share(NamedTuple):
    """What the new state has in common with one that is there."""

    tags: tuple[str, ...]  # that name it
    manifest: str  # 64 hex digits
    shared: int  # plain bytes of the new state's chunks that it has too
    readable: bool  # False: its manifest is missing or damaged, and nothing is known of it


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push would do."""

    chunks: int  # new ones
    packs: int
    manifest: int  # bytes; 0: it is there already
    puts: int  # all objects: heartbeat, packs, index segment, manifest, head, change hint
    stored: int  # bytes that packs and manifest add
    unique: int  # plain bytes of the state's chunks, each counted once
    shares: tuple[Share, ...]  # newest first
    conflicts: tuple[str, ...]  # tags that the push could not set: versions with other content


def foresee(
    repository: Repository, dataset: str, tags: tuple[str, ...], built: Built, table: BlockTable, *,
    chunks: int, packs: int, packed: int, asked: bool,
) -> Plan:  # fmt: skip
    """Tell what is left to do once everything has been read.

    Args:
        repository: the store; only read.
        dataset: whose state it becomes.
        tags: that are to name it.
        built: the state.
        table: where the blocks lie that it was built with.
        chunks: new ones.
        packs: that hold them.
        packed: bytes of those packs.
        asked: the push would offer the manifest to the store, which costs a PUT even where it lies there already.
    """
    try:
        known = repository.catalogue.tags(dataset)
    except DatasetMissing:
        known = []
    id = built.id.hex()
    by_name = {fold(tag.tag): tag for tag in known}
    held = [by_name.get(fold(tag)) for tag in tags]
    moves = any(tag is None or tag.content.manifest != id for tag in held)
    taken = [tag for tag in held if tag and tag.kind is TagKind.VERSION and tag.content.manifest != id]
    manifest = 0 if _there(repository, id) else len(built.data)
    return Plan(
        chunks=chunks,
        packs=packs,
        manifest=manifest,
        puts=(packs > 0 or asked) + packs + (packs > 0) + asked + 2 * moves,
        stored=packed + manifest,
        unique=sum(map(table.plain, built.blocks)),
        shares=tuple(_shares(repository, known, built, table)),
        conflicts=tuple(tag.tag for tag in taken),
    )


def _there(repository: Repository, id: str) -> bool:
    try:
        repository.objects.get(manifest_key(id), size=1)
    except Missing:
        return False
    return True


def _shares(repository: Repository, known: list[TagState], built: Built, table: BlockTable) -> list[Share]:
    used = bytearray(len(table))  # 1 for each block of the new state
    for row in built.blocks:
        used[row] = 1
    states: dict[str, list[TagState]] = {}
    for tag in sorted(known, key=lambda tag: tag.moved_ns, reverse=True)[:NEWEST]:
        states.setdefault(tag.content.manifest, []).append(tag)
    shares = []
    for manifest, tags in states.items():
        names = tuple(tag.tag for tag in tags)
        try:
            there = repository.manifest(bytes.fromhex(manifest), bytes.fromhex(tags[0].content.root))
            rows = (table.find(block.digest) for block in there.all_blocks())
            shared = sum(table.plain(row) for row in rows if row is not None and used[row])
        except (Missing, Corrupt, FeatureMissing):
            shares.append(Share(names, manifest, 0, readable=False))
        else:
            shares.append(Share(names, manifest, shared, readable=True))
    return shares
