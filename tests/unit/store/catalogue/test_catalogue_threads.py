"""Publishers at the same time, in threads, on a folder as the store: nothing is lost, nothing is done twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from store.catalogue.catalogue import Catalogue
from store.errors import TagMoved
from store.objects.local import FolderStore
from store.root import create_store
from tests.unit.store.states import content

WRITERS = 4
EACH = 6


def test_publishers_of_different_tags_all_succeed(tmp_path: Path) -> None:
    def publish(writer: int) -> None:
        objects = FolderStore(tmp_path)
        catalogue = Catalogue(objects, create_store(objects).root)
        for i in range(EACH):
            catalogue.set_tags("geo", [f"{writer}.{i}.0"], content((writer, i)), by=str(writer))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(publish, range(WRITERS)))
    objects = FolderStore(tmp_path)
    catalogue = Catalogue(objects, create_store(objects).root)
    tags = catalogue.tags("geo")
    assert {tag.tag: tag.content for tag in tags} == {
        f"{writer}.{i}.0": content((writer, i)) for writer in range(WRITERS) for i in range(EACH)
    }
    assert sorted(tag.n for tag in tags) == list(range(1, WRITERS * EACH + 1))
    assert [entry.n for entry in catalogue.log("geo")] == list(range(WRITERS * EACH, 0, -1))


def test_of_publishers_of_one_channel_from_one_parent_exactly_one_wins(tmp_path: Path) -> None:
    def publish(writer: int) -> bool:
        objects = FolderStore(tmp_path)
        catalogue = Catalogue(objects, create_store(objects).root)
        try:
            catalogue.set_tags("geo", ["latest"], content(writer), parents={"latest": ""})
        except TagMoved:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(publish, range(WRITERS)))
    assert won.count(True) == 1
    objects = FolderStore(tmp_path)
    catalogue = Catalogue(objects, create_store(objects).root)
    assert catalogue.resolve("geo").content == content(won.index(True))


def test_stores_made_at_once_in_one_folder_are_one_store(tmp_path: Path) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        made = list(pool.map(lambda _: create_store(FolderStore(tmp_path)), range(WRITERS)))
    assert sum(one.fresh for one in made) == 1
    assert len({one.root.store for one in made}) == 1
