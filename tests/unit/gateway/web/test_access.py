"""The access log: its two forms, whatever clients send; a file that is moved away; what becomes of a flood."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web import access
from gateway.web.access import Access, AccessLog, combined_line, json_line

SEEN = Access(1_764_072_307_250_000_000, "192.0.2.7", "GET", "/fs/geo/1.0.0/a%20b", 206, 42, "http://x/", "curl/8.1")
COMBINED = re.compile(
    r'[^ ]+ - [^ ]+ \[[^]]+\] "(?:[^"\\]|\\x[0-9a-f]{2})*" \d{3} (?:\d+|-) "(?:[^"\\]|\\x..)*" "(?:[^"\\]|\\x..)*"\n'
)


def test_the_combined_form_is_apaches() -> None:
    assert combined_line(SEEN) == (
        '192.0.2.7 - - [25/Nov/2025:12:05:07 +0000] "GET /fs/geo/1.0.0/a%20b HTTP/1.1" 206 42 "http://x/" "curl/8.1"\n'
    )
    assert combined_line(SEEN._replace(size=-1, referer="", agent="")).endswith(' 206 - "-" "-"\n')
    assert " - user:a\\x20b [" in combined_line(SEEN._replace(who="user:a b"))


def test_json_has_a_field_for_each() -> None:
    assert json.loads(json_line(SEEN)) == {
        "time": "2025-11-25T12:05:07.250000000Z", "address": "192.0.2.7", "method": "GET",
        "target": "/fs/geo/1.0.0/a%20b", "status": 206, "size": 42, "referer": "http://x/", "agent": "curl/8.1",
        "who": "",
    }  # fmt: skip


@given(method=st.text(), target=st.text(), referer=st.text(), agent=st.text(), who=st.text())
def test_nothing_that_was_sent_begins_a_line_or_ends_its_quotes(
    method: str, target: str, referer: str, agent: str, who: str
) -> None:
    seen = SEEN._replace(method=method, target=target, referer=referer, agent=agent, who=who)
    assert COMBINED.fullmatch(combined_line(seen))
    line = json_line(seen)
    assert line.count("\n") == 1
    assert json.loads(line)["target"] == target


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with closing(AccessLog(str(path), "json")) as log:
        log.note("a", "GET", "/one", 200, 1)
        log._flush()
        path.rename(tmp_path / "access.log.1")
        log.note("a", "GET", "/two", 200, 1)
    assert '"/one"' in (tmp_path / "access.log.1").read_text()
    assert '"/two"' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_kept_is_dropped_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "EVERY_S", 60.0)
    monkeypatch.setattr(access, "WAITING", 10)
    path = tmp_path / "access.log"
    with closing(AccessLog(str(path), "combined")) as log:
        for number in range(25):
            log.note("a", "GET", f"/{number}", 200, 1)
    assert len(path.read_text().splitlines()) == 10


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no/such"):
        AccessLog(str(tmp_path / "no" / "such" / "access.log"), "json")
