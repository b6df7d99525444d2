"""docs/http.md says what the code does."""

import pytest

from dav.files import FOREVER, REVALIDATE
from dav.wire.ranges import MAX_RANGES
from gateway.web.archive import COUNTED, FORMATS, RUNNING
from gateway.web.order import KEYS, PAGE, SORTABLE, TAGS
from tests.unit.docs.pages import section, text


@pytest.mark.parametrize(
    ("title", "stated"),
    [
        ("Files", f"More than {MAX_RANGES} get the whole file"),
        ("Files", f"`{FOREVER}`"),
        ("Files", f"`{REVALIDATE}`"),
        ("Folders", f"Up to {SORTABLE:,} entries are sorted by size or time"),
        ("Folders", f"up to {TAGS:,} tags"),
        ("Folders", f"{PAGE:,} entries each"),
        ("Folders", "`sort={}`, `{}` or `{}`".format(*KEYS)),
        ("Folders", "`archive={}` or `{}`".format(*FORMATS)),
        ("Archives", f"up to {COUNTED:,} entries"),
        ("Archives", f"sends {RUNNING} archives at once"),
    ],
)
def test_bounds_on_the_page_are_those_of_the_code(title: str, stated: str) -> None:
    assert stated in " ".join(section("docs/http.md", title).split())


@pytest.mark.parametrize("page", ["README.md", "docs/webdav.md", "docs/operations.md"])
def test_the_page_is_found(page: str) -> None:
    assert "http.md)" in text(page)
