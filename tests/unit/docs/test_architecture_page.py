"""docs/architecture.md and other pages name files that are there; comments in the code name modules that are there."""

import ast
import re

import pytest

from gateway.config import table
from store.layout import POLICY_KEY
from tests.unit.docs.pages import DOCS, PROJECT, marked, rows, section, text

SETTINGS = {setting.name for setting in table()}  # such as `store.url`: no module
PACKAGES = ("store", "nfs", "dav", "gateway", "auth")
MODULE = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[a-z_0-9]+)+)`")
PAGES = ["README.md", "CHANGELOG.md", *(str(page.relative_to(PROJECT)) for page in sorted(DOCS.rglob("*.md")))]


def exists(path: str, *below: str) -> bool:
    return any((PROJECT / folder / path).exists() for folder in ("", *below))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_a_page_is_there(page: str) -> None:
    paths = [mark for mark in marked(text(page)) if re.fullmatch(r"(?:[a-z_]+/)+[a-z_0-9]*(?:\.(?:py|md|toml))?", mark)]
    places = (*PACKAGES, "tests", "docs", "conf", "bench", "push", "vfs")
    ours = [path for path in paths if path.split("/")[0] in places and path != POLICY_KEY]
    assert [path for path in ours if not exists(path, "store")] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", text(page))
    assert [link for link in links if not (PROJECT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize(
    "title", ["A push, from folder to tag", "A read, from mount to block", "A pull, from state to folder"]
)
def test_the_tour_names_files_that_are_there(title: str) -> None:
    files = [mark for mark in marked(section("docs/architecture.md", title)) if mark.endswith(".py")]
    assert len(files) >= 4
    assert [file for file in files if not exists(file, "store")] == []


def test_the_map_has_every_folder_of_the_store() -> None:
    shown = {row[0].strip("`/") for row in rows(section("docs/architecture.md", "Where things are"))}
    folders = {f"store/{path.parent.name}" for path in PROJECT.glob("store/*/__init__.py")}
    assert folders - shown == set()


def test_the_map_says_what_to_read_first_where_it_is() -> None:
    for folder, _, first in rows(section("docs/architecture.md", "Where things are")):
        for name in marked(first):
            assert (PROJECT / marked(folder)[0] / name).exists(), name


@pytest.mark.parametrize("page", PAGES)
def test_every_module_named_in_a_page_is_there(page: str) -> None:
    assert [name for name in MODULE.findall(text(page)) if not _known(name) and name not in SETTINGS] == []


def test_docstrings_and_comments_name_modules_that_are_there() -> None:
    wrong = [
        f"{source.relative_to(PROJECT)}: {name}"
        for package in PACKAGES
        for source in sorted((PROJECT / package).rglob("*.py"))
        for name in MODULE.findall(source.read_text(encoding="utf-8"))
        if not _known(name)
    ]
    assert wrong == []


def _known(dotted: str) -> bool:
    """Tell whether a dotted name is a module, or a name at the top of one."""
    path = PROJECT / dotted.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return module.is_file() and path.name in _names(module.read_text(encoding="utf-8"))


def _names(code: str) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found
