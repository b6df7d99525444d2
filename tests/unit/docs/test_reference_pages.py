"""docs/reference is what the program says of itself today."""

from gateway.reference import pages
from tests.unit.docs.pages import DOCS


def test_the_pages_are_what_make_docs_would_write() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "reference").iterdir()}
    stale = sorted(name for name, text in pages().items() if written.get(name) != text)
    assert stale == [], "run `make docs`"
    assert sorted(written) == sorted(pages())


def test_commands_settings_and_errors_are_all_there() -> None:
    found = pages()
    assert "## aetherfs config check\n" in found["commands.md"]
    assert "## aetherfs rollback\n" in found["commands.md"]
    assert "| `cache.disk` | `AETHERFS_CACHE_DISK` | `10GiB` |" in found["settings.md"]
    assert "| 5 | `TagExists` |" in found["exit-codes.md"]
