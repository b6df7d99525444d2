"""Finds what the pages of docs/ say in tables and in code marks. Pure but for reading files of the project."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
DOCS = PROJECT / "docs"


def text(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """Return the part below one `## title`, up to the next."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no section {title!r}"
    return found[1]


def rows(part: str) -> list[list[str]]:
    """Return the cells of every table's rows, without heads and rules."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [index for index, row in enumerate(cells) if set("".join(row)) <= set("-:")]
    heads = {index - 1 for index in rules}
    return [row for index, row in enumerate(cells) if index not in heads and index not in rules]


def marked(part: str) -> list[str]:
    """Return what stands between backquotes, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", part, flags=re.MULTILINE | re.DOTALL))
