"""Files of users: what is read, what is refused with its line, and what stays when a line changes."""

import pytest

from auth.htpasswd import LARGEST, HtpasswdError, Users, check_name, parse_htpasswd, with_user, without_user
from tests.unit.auth.test_hashes import QUICK, SMALL

FILE = f"# people\nada:{QUICK}\n\nbøb smith:{SMALL}\r\n  \n#eve:{QUICK}".encode()


def test_users_are_read_comments_and_blank_lines_are_not() -> None:
    users = parse_htpasswd(FILE)
    assert users.names == ("ada", "bøb smith")
    assert (users.get("ada"), users.get("bøb smith"), users.get("eve")) == (QUICK, SMALL, None)
    assert parse_htpasswd(b"").names == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"ada", "no colon"),
        (b":" + QUICK.encode(), "1 to 256"),
        (b"x" * 257 + b":" + QUICK.encode(), "1 to 256"),
        (f"ada:{QUICK}".encode(), "'ada' stands in line 2 already"),
        (f"eve:{QUICK}:staff".encode(), "a second colon"),
        (f" eve:{QUICK}".encode(), "no space around it"),
        (f"eve :{QUICK}".encode(), "no space around it"),
        (f"e\u200bve:{QUICK}".encode(), "invisible"),
        (f"e\u2028ve:{QUICK}".encode(), "invisible"),
        (b"e\x00ve:" + QUICK.encode(), "invisible"),
        (b"\xff:" + QUICK.encode(), "not UTF-8"),
        (f"eve: {QUICK}".encode(), "no hash of a known kind"),
        (f"eve:{QUICK} ".encode(), "not as it is written"),
        (b"eve:plain", "no hash of a known kind"),
        (f"\ufeffeve:{QUICK}".encode(), "invisible"),
    ],
)
def test_a_line_that_could_be_taken_in_two_ways_is_refused_by_its_number(line: bytes, why: str) -> None:
    with pytest.raises(HtpasswdError, match=why) as caught:
        parse_htpasswd(b"# people\nada:%b\n\n%b\n" % (QUICK.encode(), line))
    assert str(caught.value).startswith("line 4: ")
    assert QUICK not in str(caught.value)
    assert "plain" not in str(caught.value)


def test_a_mark_that_editors_begin_files_with_is_no_part_of_a_name() -> None:
    marked = b"\xef\xbb\xbf" + f"ada:{QUICK}\r\nbob:{QUICK}\r\n".encode()
    assert parse_htpasswd(marked).names == ("ada", "bob")
    assert parse_htpasswd(with_user(marked, "ada", SMALL)).get("ada") == SMALL
    assert without_user(marked, "ada") == f"bob:{QUICK}\r\n".encode()
    assert parse_htpasswd(b"\xef\xbb\xbf").names == ()


def test_a_file_that_is_too_large_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(HtpasswdError, match="larger than"):
        parse_htpasswd(b"#" * (LARGEST + 1))


def test_a_changed_line_stays_where_it_is_and_all_others_as_they_are() -> None:
    changed = with_user(FILE, "bøb smith", QUICK)
    assert changed == FILE.replace(SMALL.encode(), QUICK.encode())
    assert with_user(with_user(FILE, "ada", SMALL), "ada", QUICK) == FILE


def test_a_new_user_is_written_at_the_end_on_a_line_of_their_own() -> None:
    assert with_user(FILE, "new", QUICK) == FILE + f"\nnew:{QUICK}\n".encode()
    assert with_user(b"", "new", QUICK) == f"new:{QUICK}\n".encode()


def test_a_removed_user_takes_their_line_alone_along() -> None:
    assert without_user(FILE, "ada") == FILE.replace(f"ada:{QUICK}\n".encode(), b"", 1)
    assert without_user(FILE, "eve") == FILE  # a comment
    assert without_user(FILE, "") == FILE


def test_a_file_that_cannot_be_read_is_not_written_either() -> None:
    bad = FILE + b"\nbroken"
    with pytest.raises(HtpasswdError, match="line 7"):
        with_user(bad, "new", QUICK)
    with pytest.raises(HtpasswdError, match="line 7"):
        without_user(bad, "ada")


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a ", "a\nb", "a\tb", "a\u202eb", "\udcff", "x" * 257])
def test_names_that_no_line_could_hold_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a user's name"):
        check_name(name)
    with pytest.raises(ValueError, match="a user's name"):
        with_user(FILE, name, QUICK)


def test_an_unknown_name_has_the_hash_of_some_user_and_always_the_same() -> None:
    users = Users({"ada": QUICK, "bob": SMALL})
    drawn = {name: users.decoy(name) for name in map(str, range(100))}
    assert set(drawn.values()) == {QUICK, SMALL}
    assert drawn == {name: Users({"ada": QUICK, "bob": SMALL}).decoy(name) for name in drawn}
    assert Users({}).decoy("ada") is None
