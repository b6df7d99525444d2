"""The grammar of names, tags and references, as one table of examples."""

import datetime

import pytest

from store.catalogue.refs import (
    ByDigest,
    InRange,
    Named,
    OnDay,
    TagKind,
    fold,
    format_reference,
    kind_of,
    parse_dataset,
    parse_reference,
    parse_tag,
    split_location,
)
from store.errors import BadName

VERSIONS = (
    "1.2.3",
    "v1.2.3",
    "0.0.0",
    "1.2.3-rc.1",
    "1.2.3-0a",
    "1.2.3--",
    "1.2.3+build.007",
    "1.2.3-rc.1+exp.sha-5114f85",
    "2026.11",
    "v2026.11",
    "2026.11.22",
    "2026.01.02",
    "2026.11.22-1",
    "2026.11-2",
    "2024.02.29",
    "24.04",
    "v24.04",
    "24.04.1",
    "12.10",
    "2026-11-22",
    "2026.13.1",  # no month, but three numbers
    "2026.11.31",
    "24.4.1",
)
CHANNELS = (
    "latest",
    "stable",
    "qa",
    "v1",
    "1.2",
    "2026",
    "1.2.3.4",
    "01.2.3",
    "1.02.3",
    "1.2.3-01",
    "1.2.3-",
    "1.2.3+",
    "1.2.3-rc..1",
    "1.2.3+a_b",
    "V1.2.3",
    "24.4",
    "24.00",
    "24.13",
    "24.04-1",
    "2026.13",
    "2026.1",
    "2026.00",
    "2026.02.30",
    "2023.02.29",
    "0000.01",
    "2026.11-01",
    "2026-02-30",
    "2026-13-01",
    "v2026-11-22",
    "2026-11",
    "2026-11-22-1",
)


@pytest.mark.parametrize("tag", VERSIONS)
def test_tag_is_a_version(tag: str) -> None:
    assert kind_of(parse_tag(tag)) is TagKind.VERSION


@pytest.mark.parametrize("tag", CHANNELS)
def test_tag_is_a_channel(tag: str) -> None:
    assert kind_of(parse_tag(tag)) is TagKind.CHANNEL


@pytest.mark.parametrize("name", ["a", "0", "geo", "a.b-c_d", "x" * 64, "@geo/city", "@0/1", "@g/" + "y" * 64])
def test_dataset_name_is_allowed(name: str) -> None:
    assert parse_dataset(name) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("Geo", "for example geo"),
        (".hidden", "first a letter or digit"),
        ("-x", "first a letter or digit"),
        ("..", "first a letter or digit"),
        ("a b", "not allowed"),
        ("a\n", "not allowed"),
        ("naïve", "not allowed"),
        ("a/b", "not allowed"),
        ("x" * 65, "at most 64"),
        ("@geo", "@geo/NAME"),
        ("@geo/", "empty"),
        ("@/x", "the scope is empty"),
        ("@geo/a/b", "not allowed"),
        ("@token/x", "reserved"),
        ("@me/x", "reserved"),
        ("@token", "reserved"),
        ("@Geo/x", "the scope"),
    ],
)
def test_dataset_name_is_refused_with_what_would_be_right(name: str, says: str) -> None:
    with pytest.raises(BadName) as caught:
        parse_dataset(name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("", "empty"),
        ("b3-0123456789ab", "NAME@b3-HEX"),
        ("B3-x", "reserved"),
        (".x", "first a letter or digit"),
        ("+x", "first a letter or digit"),
        ("a/b", "letters, digits and"),
        ("a b", "letters, digits and"),
        ("a:b", "letters, digits and"),
        ("x\n", "letters, digits and"),
        ("x" * 129, "at most 128"),
        ("é", "letters, digits and"),
    ],
)
def test_tag_is_refused_with_what_would_be_right(tag: str, says: str) -> None:
    with pytest.raises(BadName) as caught:
        parse_tag(tag)
    assert says in str(caught.value)


HEX = "1f2e3d4c5b6a"
DAY = datetime.date(2026, 11, 1)


@pytest.mark.parametrize(
    ("text", "dataset", "select"),
    [
        ("geo", "geo", Named("latest")),
        ("geo:latest", "geo", Named("latest")),
        ("@geo/city", "@geo/city", Named("latest")),
        ("geo:1.0.0", "geo", Named("1.0.0")),
        ("@geo/city:v1", "@geo/city", Named("v1")),
        ("geo:2026-11-01", "geo", Named("2026-11-01")),
        ("geo:b3", "geo", Named("b3")),
        ("geo@2026-11-01", "geo", OnDay(DAY, "latest")),
        ("geo:stable@2026-11-01", "geo", OnDay(DAY, "stable")),
        ("@geo/city:stable@2026-11-01", "@geo/city", OnDay(DAY, "stable")),
        (f"geo@b3-{HEX}", "geo", ByDigest(HEX)),
        (f"@geo/city@b3-{HEX}", "@geo/city", ByDigest(HEX)),
        ("geo@b3-" + "a" * 64, "geo", ByDigest("a" * 64)),
    ],
)
def test_reference_means(text: str, dataset: str, select: Named | OnDay | ByDigest) -> None:
    reference = parse_reference(text)
    assert (reference.dataset, reference.select) == (dataset, select)
    assert format_reference(reference) == text


@pytest.mark.parametrize(
    "text", ["geo@^1.2", "geo@~1.4", "geo@>=1 <3", "geo@2026.*", "geo@1.2.3", "geo@*", "@geo/city@^1.2", "geo@ >= 1"]
)
def test_reference_with_range_keeps_its_text(text: str) -> None:
    reference = parse_reference(text)
    assert isinstance(reference.select, InRange)
    assert format_reference(reference) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("geo:", "NAME:latest"),
        ("geo@", "ranges look like"),
        ("geo@latest", "NAME:latest"),
        ("geo@2026-02-30", "no such day"),
        ("geo@2026-13-01", "no such day"),
        ("geo:stable@latest", "YYYY-MM-DD"),
        ("geo:stable@^1", "YYYY-MM-DD"),
        ("geo:1.0.0@2026-11-01", "never moves"),
        ("geo@b3-1f2e3d4c5b6", "12 to 64"),
        ("geo@b3-1F2E3D4C5B6A", "lower-case"),
        ("geo@b3-" + "a" * 65, "12 to 64"),
        (f"geo:b3-{HEX}", "NAME@b3-HEX"),
        (f"geo@b3-{HEX}@2026-11-01", "12 to 64"),
        ("geo@^1.2:x", "nothing after it"),
        ("geo/city", "without a path"),
        ("geo:a/b", "letters, digits and"),
        ("@geo", "@geo/NAME"),
        ("Geo:1", "for example geo"),
        ("geo:a:b", "letters, digits and"),
        ("geo@1.*.3", "after a wildcard"),
        ("geo@>*", "every version"),
        ("geo@>=1 ||", "ranges look like"),
        ("geo@\ud800", "ranges look like"),
        ("x" * 2000, "at most 1024"),
    ],
)
def test_reference_is_refused_with_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(BadName) as caught:
        parse_reference(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "reference", "path"),
    [
        ("geo", "geo", ""),
        ("geo/a.txt", "geo", "a.txt"),
        ("geo:1.0.0/a/b", "geo:1.0.0", "a/b"),
        ("geo:1.0.0/", "geo:1.0.0", ""),
        ("@geo/city", "@geo/city", ""),
        ("@geo/city/a@b:c", "@geo/city", "a@b:c"),
        ("@geo/city:v1/a", "@geo/city:v1", "a"),
        ("geo@>=1 <3/a b", "geo@>=1 <3", "a b"),
        ("geo:qa@2026-11-01/x", "geo:qa@2026-11-01", "x"),
        (f"geo@b3-{HEX}/x/y", f"geo@b3-{HEX}", "x/y"),
    ],
)
def test_location_splits_at_the_first_slash_after_the_dataset(text: str, reference: str, path: str) -> None:
    assert split_location(text) == (parse_reference(reference), path)


def test_tags_that_differ_by_case_alone_fold_together() -> None:
    assert fold("1.0.0-RC1") == fold("1.0.0-rc1")
