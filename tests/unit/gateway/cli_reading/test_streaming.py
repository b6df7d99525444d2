"""Long results are written while they come, with little of them in memory; short ones in order, or not at all."""

import json
from collections.abc import Iterator

import pytest

from gateway.cli.common import Common
from gateway.cli.streaming import BATCH, stream
from store.errors import DatasetMissing


def write(items: Iterator[str], *, as_json: bool = False) -> None:
    stream(
        Common(json=as_json),
        {"dataset": "geo"},
        "names",
        items,
        spell=lambda name: {"name": name},
        lines=lambda names: names,
        order=lambda name: name,
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_what_came_first_is_written_before_the_rest_is_asked_for(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    seen: list[str] = []

    def items() -> Iterator[str]:
        for number in range(5 * BATCH):
            if number == 2 * BATCH:
                seen.append(capsys.readouterr().out)
            yield f"set-{number}"

    write(items(), as_json=as_json)
    assert 'set-0"' in seen[0] if as_json else "set-0\n" in seen[0]
    assert f"set-{2 * BATCH}" not in seen[0]
    whole = seen[0] + capsys.readouterr().out
    expected = [f"set-{number}" for number in range(5 * BATCH)]
    if as_json:
        assert json.loads(whole) == {"dataset": "geo", "names": [{"name": name} for name in expected]}
    else:
        assert whole.splitlines() == expected


@pytest.mark.parametrize("count", [0, 1, BATCH])
def test_a_short_result_is_in_order(capsys: pytest.CaptureFixture[str], count: int) -> None:
    names = [f"set-{number:05d}" for number in range(count)]
    write(reversed(names))
    assert capsys.readouterr().out.splitlines() == names
    write(reversed(names), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"dataset": "geo", "names": [{"name": name} for name in names]}


@pytest.mark.parametrize("as_json", [False, True])
def test_what_fails_at_once_writes_nothing(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    def items() -> Iterator[str]:
        yield "set-1"
        raise DatasetMissing("geo")

    with pytest.raises(DatasetMissing):
        write(items(), as_json=as_json)
    assert capsys.readouterr().out == ""
