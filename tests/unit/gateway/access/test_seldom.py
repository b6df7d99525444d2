"""What is noted now and then."""

import time

import pytest

from gateway.access import seldom
from gateway.access.seldom import PAUSE_S, Seldom


def test_the_same_is_noted_again_after_a_while_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    one = Seldom()
    assert [one.first(what) for what in ("a", "a", "b", "a")] == [True, False, True, False]
    now_s += PAUSE_S - 1
    assert not one.first("a")
    now_s += 1
    assert one.first("a")


def test_what_was_noted_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seldom, "REMEMBERED", 2)
    one = Seldom()
    assert [one.first(what) for what in (1, 2, 3, 3, 2, 1)] == [True, True, True, False, False, True]
