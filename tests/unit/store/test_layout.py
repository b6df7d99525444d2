"""Keys in the bucket."""

import pytest

from store.layout import change_key, dataset_key, dataset_of_key, history_key, manifest_key, name_prefix, pack_key
from store.objects.keys import check_key


@pytest.mark.parametrize("name", ["geo", "@geo/city", "a.b-c_d", "@x/" + "y" * 64])
def test_dataset_of_a_heads_key_is_found_again(name: str) -> None:
    assert dataset_of_key(check_key(dataset_key(name))) == name


@pytest.mark.parametrize(
    "key", ["", "datasets/", "datasets/00", "datasets/zz/geo", "packs/aa/bb", "datasets/00/geo", "datasets/00/\xe9"]
)
def test_key_that_is_no_heads_names_no_dataset(key: str) -> None:
    assert dataset_of_key(key) is None


def test_keys_are_those_of_the_format() -> None:
    assert dataset_key("geo") == f"datasets/{name_prefix('geo')}/geo"
    assert len(name_prefix("geo")) == 2
    assert history_key("@geo/city", 7, "ab" * 32) == "history/@geo/city/7-abababababababab"
    assert manifest_key("abcd") == "manifests/ab/abcd"
    assert pack_key("abcd") == "packs/ab/abcd"
    assert change_key("0f") == "changes/0f"
