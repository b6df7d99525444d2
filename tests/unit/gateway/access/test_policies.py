"""Where the policy is from: file or bucket, plain or sealed; changes, damage and absence."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from auth.policy import LARGEST, PolicyError
from auth.principal import ANONYMOUS, Action
from gateway.access.current import BUCKET_S, FILE_S
from gateway.access.policies import PolicySource
from gateway.access.policy_object import LIMIT, NONE, read_policy, write_policy
from gateway.config import AuthSettings, BasicSettings, ConfigError, Settings
from gateway.errors import PolicyMoved
from store import jsondoc
from store.errors import FeatureMissing, ObjectCorrupt, ObjectMissing, Replayed, StoreUnavailable
from store.layout import POLICY_KEY
from store.objects.base import Fetched, ObjectStore
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper

READ = '[[rule]]\nallow = ["read"]\nto = ["anonymous"]\non = ["{}"]\n'
MAPS, ROADS = READ.format("maps"), READ.format("roads")


def settings(policy: str = "", htpasswd: str = "") -> Settings:
    return Settings(auth=replace(AuthSettings(), policy=policy), auth_basic=replace(BasicSettings(), htpasswd=htpasswd))


def readable(source: PolicySource) -> set[str]:
    return {name for name in ("maps", "roads", "other") if source.policy.allows(ANONYMOUS, Action.READ, name)}


class Away(Wrapper):
    """A bucket that does not answer when told, and counts what it was asked."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.away, self.whole = False, 0

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        if self.away:
            raise StoreUnavailable("memory", "no answer")
        found = self._inner.fetch(key, unless=unless)
        self.whole += found is not None
        return found


@pytest.fixture
def objects() -> Away:
    return Away(MemoryStore())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(MAPS)
    return path


# by settings


def test_without_login_everything_is_allowed_and_nothing_asked() -> None:
    source = PolicySource(settings())
    assert readable(source) == {"maps", "roads", "other"}
    assert (source.generation, source.refresh(), source.start()) == (0, False, None)


def test_with_login_and_no_policy_nothing_is_allowed_which_is_told() -> None:
    with capture_logs() as logs:
        source = PolicySource(settings(htpasswd="users"))
    assert readable(source) == set()
    assert "no policy" in logs[0]["event"]


def test_changes_are_known_within_ten_seconds() -> None:
    assert max(FILE_S, BUCKET_S) <= 10


# from a file


def test_a_file_is_read_again_when_it_changes(file: Path) -> None:
    source = PolicySource(settings(str(file)))
    assert (readable(source), source.generation) == ({"maps"}, 1)
    file.write_text(ROADS)
    assert source.refresh()
    assert (readable(source), source.generation) == ({"roads"}, 2)


def test_a_file_that_can_no_longer_be_used_leaves_the_policy_in_force(file: Path) -> None:
    source = PolicySource(settings(str(file)))
    with capture_logs() as logs:
        file.write_text(MAPS + "[[rule]]\n")
        for _ in range(3):
            assert not source.refresh()
    assert [line["log_level"] for line in logs] == ["error"]
    assert logs[0]["why"] == f"the policy {file}, line 5: rule 2: it must have either allow or deny"
    assert (readable(source), source.generation) == ({"maps"}, 1)
    file.unlink()
    assert not source.refresh()
    assert readable(source) == {"maps"}


@pytest.mark.parametrize("text", ["nonsense", None])
def test_a_file_that_cannot_be_used_at_the_start_is_an_error(file: Path, text: str | None) -> None:
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(ConfigError, match=r"policy\.toml"):
        PolicySource(settings(str(file)))


def test_a_file_that_others_may_write_is_refused(file: Path) -> None:
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod go-w"):
        PolicySource(settings(str(file)))


# in the bucket


def test_the_bucket_s_policy_is_taken_up_when_it_changes_and_fetched_only_then(objects: Away) -> None:
    write_policy(objects, MAPS, by="ada")
    objects.whole = 0
    source = PolicySource(settings("store"), objects)
    assert readable(source) == {"maps"}
    for _ in range(5):
        assert not source.refresh()
    assert objects.whole == 1
    write_policy(objects, ROADS, by="ada")
    assert source.refresh()
    assert (readable(source), source.generation) == ({"roads"}, 2)


def test_a_bucket_without_policy_allows_nothing_until_there_is_one(objects: Away) -> None:
    with capture_logs() as logs:
        source = PolicySource(settings("store"), objects)
        assert not source.refresh()
    assert readable(source) == set()
    assert len(logs) == 1
    write_policy(objects, MAPS, by="ada")
    assert source.refresh()
    assert readable(source) == {"maps"}


def test_a_policy_that_is_removed_or_damaged_or_of_a_bucket_that_is_away_stays_in_force(objects: Away) -> None:
    write_policy(objects, MAPS, by="ada")
    source = PolicySource(settings("store"), objects)
    objects.away = True
    assert not source.refresh()
    objects.away = False
    good = objects.get(POLICY_KEY)
    objects.put(POLICY_KEY, good[:-3])
    assert not source.refresh()
    objects.put(POLICY_KEY, jsondoc.encode({"format": 1, "seq": 9, "changed": 1, "text": "nonsense"}))
    assert not source.refresh()
    objects.delete(POLICY_KEY)
    with capture_logs() as logs:
        assert not source.refresh()
        assert not source.refresh()
    assert ["it was removed" in line["why"] for line in logs] == [True]
    assert (readable(source), source.generation) == ({"maps"}, 1)
    write_policy(objects, ROADS, by="ada")
    assert source.refresh()
    assert readable(source) == {"roads"}


def test_at_the_start_the_bucket_s_policy_has_to_be_usable(objects: Away) -> None:
    with pytest.raises(ConfigError, match="no store here"):
        PolicySource(settings("store"))
    objects.put(POLICY_KEY, jsondoc.encode({"format": 1, "seq": 1, "changed": 1, "text": "nonsense"}))
    with pytest.raises(ConfigError, match="in the bucket, line 1: not TOML"):
        PolicySource(settings("store"), objects)
    objects.put(POLICY_KEY, b"nonsense")
    with pytest.raises(ObjectCorrupt):
        PolicySource(settings("store"), objects)
    objects.away = True
    with pytest.raises(StoreUnavailable):
        PolicySource(settings("store"), objects)


# the object


def test_what_is_written_is_what_is_read(objects: Away) -> None:
    text = '# "quoted" \\ ä\r\n' + MAPS
    written = write_policy(objects, text, by="ada@here")
    assert read_policy(objects) == written
    assert (written.text, written.seq, written.by) == (text, 1, "ada@here")
    assert read_policy(objects, unless=written.etag) is None
    assert write_policy(objects, text, by="bob") == written  # the same again changes nothing
    again = write_policy(objects, ROADS, by="bob")
    assert (again.seq, again.by, again.digest != written.digest) == (2, "bob", True)


def test_a_change_is_made_only_to_what_was_expected(objects: Away) -> None:
    with pytest.raises(PolicyMoved, match="to be 0123456789ab but is absent"):
        write_policy(objects, MAPS, by="ada", expect="0123456789ab")
    first = write_policy(objects, MAPS, by="ada", expect=NONE)
    with pytest.raises(PolicyMoved, match=f"to be absent but is {first.digest[:12]}, by ada"):
        write_policy(objects, ROADS, by="bob", expect=NONE)
    with pytest.raises(PolicyMoved):
        write_policy(objects, ROADS, by="bob", expect=first.digest[:11])  # too short to name anything
    second = write_policy(objects, ROADS, by="bob", expect=first.digest[:12].upper())
    with pytest.raises(PolicyMoved):
        write_policy(objects, MAPS, by="ada", expect=first.digest)
    assert read_policy(objects) == second


@pytest.mark.parametrize("text", ["nonsense", "#" * (LARGEST + 1), "# \ud800"])
def test_what_does_not_parse_is_not_written(objects: Away, text: str) -> None:
    with pytest.raises(PolicyError):
        write_policy(objects, text, by="ada")
    with pytest.raises(ObjectMissing):
        read_policy(objects)


def test_the_largest_policy_fits_the_object(objects: Away) -> None:
    text = MAPS + '#"\\' * ((LARGEST - len(MAPS)) // 3)
    assert read_policy(objects) if write_policy(objects, text, by="a" * 999) else None
    assert len(objects.get(POLICY_KEY)) < LIMIT


def test_fields_that_are_not_known_are_kept(objects: Away) -> None:
    objects.put(POLICY_KEY, jsondoc.encode({"format": 1, "seq": 4, "changed": 1, "text": MAPS, "later": [1]}))
    assert write_policy(objects, ROADS, by="ada").seq == 5
    assert b'"later":[1]' in objects.get(POLICY_KEY)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"format": 2}, FeatureMissing),
        ({"format": 1, "seq": 1, "changed": 1}, ObjectCorrupt),
        ({"format": 1, "seq": 1, "changed": 1, "text": 5}, ObjectCorrupt),
        ({"format": 1, "seq": -1, "changed": 1, "text": MAPS}, ObjectCorrupt),
        ({"format": 1, "seq": 1, "changed": 1, "text": MAPS, "by": "a" * 257}, ObjectCorrupt),
    ],
)
def test_an_object_that_cannot_be_read_is_not_replaced_either(
    objects: Away, document: dict[str, object], error: type[Exception]
) -> None:
    objects.put(POLICY_KEY, jsondoc.encode(document))
    with pytest.raises(error):
        read_policy(objects)
    with pytest.raises(error):
        write_policy(objects, MAPS, by="ada")


def test_half_a_character_is_damage(objects: Away) -> None:
    objects.put(POLICY_KEY, b'{"format":1,"seq":1,"changed":1,"text":"# \\ud800"}')
    with pytest.raises(ObjectCorrupt, match="not UTF-8"):
        read_policy(objects)


def test_two_writers_at_one_time_are_both_counted(objects: Away) -> None:
    class Racing(Wrapper):
        """Lets another writer be faster, once."""

        raced = False

        def put_if(self, key: str, data: bytes | bytearray | memoryview, *, match: str | None) -> str:
            if not self.raced:
                self.raced = True
                write_policy(self._inner, ROADS, by="other")
            return self._inner.put_if(key, data, match=match)

    assert write_policy(Racing(objects), MAPS, by="ada").seq == 2
    with pytest.raises(PolicyMoved):
        write_policy(Racing(MemoryStore()), MAPS, by="ada", expect=NONE)


def test_an_older_policy_that_is_put_back_is_refused_where_the_newer_one_was_seen(objects: Away) -> None:
    newest: dict[str, int] = {}

    def seen(name: str, seq: int) -> None:
        if seq < newest.get(name, 0):
            raise Replayed("head", seq, newest[name])
        newest[name] = seq

    write_policy(objects, MAPS, by="ada", seen=seen)
    old = objects.get(POLICY_KEY)
    write_policy(objects, ROADS, by="ada", seen=seen)
    source = PolicySource(settings("store"), objects, seen=seen)
    for put_back in (lambda: objects.put(POLICY_KEY, old), lambda: objects.delete(POLICY_KEY)):
        put_back()
        assert not source.refresh()
        assert readable(source) == {"roads"}
        with pytest.raises(Replayed, match="the policy"):
            PolicySource(settings("store"), objects, seen=seen)
        with pytest.raises(Replayed, match="the policy"):
            write_policy(objects, MAPS, by="ada", seen=seen)
