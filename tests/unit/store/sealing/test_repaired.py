"""What a disk cache has taken of a damaged object of an encrypted store does not outlive the object's repair."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from store.errors import ObjectCorrupt
from store.objects.cached import CachedObjects
from store.objects.memory import MemoryStore
from store.objects.pieces import SMALLEST, PieceCache
from store.objects.sealed import Sealed
from store.root import ENCRYPTION, StoreRoot, create_store, in_plain
from store.sealing.key_source import GivenKey, make_envelope
from store.sealing.names import Names
from store.secret import Secret
from tests.unit.store.care.test_verify import noise

MANIFEST = f"manifests/aa/{'aa' * 32}"
PLAIN = noise(3, 200_000)


def encrypt(fresh: StoreRoot) -> StoreRoot:
    envelope, keys = make_envelope(GivenKey(Secret(b"k" * 32), "the test"), fresh.store, 1)
    return replace(fresh, envelope=envelope, keys=keys, features={"read": (ENCRYPTION,)})


def test_a_manifest_that_was_damaged_for_a_while_is_read_once_it_is_repaired(tmp_path: Path) -> None:
    inner = MemoryStore()
    root = create_store(inner, encrypt=encrypt).root
    assert root.keys is not None
    in_plain(inner, root).put(MANIFEST, PLAIN)
    hidden = Names(root.keys).hide(MANIFEST)
    sound = inner.get(hidden)
    inner.put(hidden, bytes(byte ^ 1 for byte in sound))
    for good in (False, True):
        with closing(PieceCache(tmp_path / "cache", SMALLEST)) as pieces:
            cached = CachedObjects(inner, pieces)
            sealed = Sealed(cached, root.keys, root.store, forget=cached.forget)
            if good:
                assert sealed.tail(MANIFEST, 1000) == (PLAIN[-1000:], len(PLAIN))
                assert sealed.get(MANIFEST, offset=50_000, size=100) == PLAIN[50_000:50_100]
            else:
                for _ in range(2):
                    with pytest.raises(ObjectCorrupt):
                        sealed.tail(MANIFEST, 1000)
                    with pytest.raises(ObjectCorrupt):
                        sealed.get(MANIFEST, offset=50_000, size=100)
        inner.put(hidden, sound)
