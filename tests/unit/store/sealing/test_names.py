"""Hidden names: every key that the store writes is told back by who has the secret, and by nobody else."""

import string
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from store import layout
from store.catalogue.refs import parse_dataset
from store.errors import BadName
from store.objects.keys import check_key
from store.sealing.names import Names, kind_of
from store.sealing.secret_keys import KeyRing
from store.secret import Secret


def names(secret: bytes) -> Names:
    return Names(KeyRing(data={b"k" * 16: Secret(b"d" * 32)}, id_secret=Secret(secret * 32), handle=Secret(b"h" * 32)))


OURS: Final = names(b"i")
THEIRS: Final = names(b"j")


def is_dataset(name: str) -> bool:
    try:
        parse_dataset(name)
    except BadName:
        return False
    return True


def hexed(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


WORD: Final = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=64)
DATASET: Final = (WORD | st.builds("@{}/{}".format, WORD, WORD)).filter(is_dataset)
TOLD: Final = st.one_of(
    st.builds(layout.dataset_key, DATASET),
    st.builds(layout.history_key, DATASET, st.integers(0, 10**9), hexed(32)),
    st.builds(layout.manifest_key, hexed(32), st.just("") | hexed(32)),
    st.builds(layout.index_key, hexed(1), hexed(16)),
    st.builds(layout.change_key, hexed(1)),
)
SHOWN: Final = st.one_of(
    st.builds(layout.pack_key, hexed(16)), st.builds(layout.moved_key, hexed(16)),
    st.builds(layout.push_key, hexed(16)), st.sampled_from([layout.ROOT_KEY, layout.GC_STATE_KEY]),
)  # fmt: skip


@given(TOLD | SHOWN)
def test_every_key_of_the_store_is_hidden_and_told_back(key: str) -> None:
    hidden = OURS.hide(key)
    check_key(hidden)
    assert OURS.show(hidden) == key
    assert hidden.partition("/")[0] == key.partition("/")[0]
    assert kind_of(hidden) == kind_of(key)


@given(SHOWN)
def test_random_ids_and_words_of_every_store_are_shown_as_they_are(key: str) -> None:
    assert OURS.hide(key) == key


@given(DATASET, st.integers(0, 99), hexed(32))
def test_no_name_of_a_dataset_shows_nor_its_length(name: str, number: int, digest: str) -> None:
    other = "a"
    for key in (layout.dataset_key, lambda name: layout.history_key(name, number, digest)):
        hidden = OURS.hide(key(name))
        assert len(name) < 3 or name not in hidden
        assert len(hidden) == len(OURS.hide(key(other)))


@given(TOLD.filter(lambda key: not key.startswith(("index/", "changes/"))))
def test_another_stores_names_are_none_of_ours(key: str) -> None:
    hidden = THEIRS.hide(key)
    assert hidden != OURS.hide(key)
    assert OURS.show(hidden) is None


@given(TOLD)
def test_a_plain_key_in_the_bucket_is_none_of_ours_or_another_group(key: str) -> None:
    assert OURS.show(key) is None or key.startswith(("index/", "changes/"))


@given(st.lists(TOLD | SHOWN, unique=True, min_size=2, max_size=20))
def test_two_keys_are_never_hidden_as_one(keys: list[str]) -> None:
    assert len({OURS.hide(key) for key in keys}) == len(keys)


@given(TOLD | SHOWN, st.data())
def test_a_listing_by_what_a_key_begins_with_finds_it(key: str, data: st.DataObject) -> None:
    prefix = key[: data.draw(st.integers(0, len(key)))]
    assert OURS.hide(key).startswith(OURS.hide_prefix(prefix))


@given(
    st.text(max_size=300), st.sampled_from(["", "datasets/", "manifests/", "history/", "index/", "changes/", "packs/"])
)
def test_any_text_is_hidden_and_told_without_an_exception(text: str, head: str) -> None:
    shown = OURS.show(head + text)
    assert shown is None or OURS.hide(shown) == head + text
    OURS.hide(head + text)
    OURS.hide_prefix(head + text)


@given(st.data())
def test_a_token_with_one_other_letter_is_no_name(data: st.DataObject) -> None:
    hidden = OURS.hide(data.draw(TOLD.filter(lambda key: key.startswith(("datasets/", "manifests/", "history/")))))
    at = data.draw(st.integers(hidden.index("/") + 1, len(hidden) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567/.A").filter(lambda one: one != hidden[at]))
    assert OURS.show(hidden[:at] + letter + hidden[at + 1 :]) is None
