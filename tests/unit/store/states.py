"""States and a catalogue on a store that misbehaves as told."""

import hashlib

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.catalogue.history import Archive
from store.root import create_store
from tests.unit.store.faults import FaultyStore

DAY_NS = 86_400 * 10**9


def content(name: object) -> Content:
    """Invent a state."""
    digest = hashlib.sha256(str(name).encode()).hexdigest()
    return Content(manifest=digest, root=digest[::-1], size=len(str(name)), files=1)


def new_catalogue(store: FaultyStore, archive: Archive | None = None) -> Catalogue:
    """Open a catalogue (of a fresh process, as it were) on a store, made where there is none."""
    return Catalogue(store, create_store(store).root, sleep=lambda _: None, jitter=lambda: 0.0, archive=archive)
