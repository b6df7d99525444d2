"""The table of settings, its file, its environment names, and what is said about mistakes."""

import contextlib
import itertools
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.config import (
    Address,
    ConfigError,
    Settings,
    check_file,
    load,
    parse_address,
    parse_size,
    read_count,
    read_seconds,
    spell_size,
    spelled,
    table,
)
from gateway.config_file import read_config_file
from gateway.worker import Order

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "default_config_file", lambda: tmp_path / "absent.toml")


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "a.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_sample_file_holds_every_setting_at_its_default() -> None:
    flat = {entry.name: entry.value for entry in read_config_file(PROJECT / "conf" / "aetherfs.toml")}
    assert flat == {setting.name: setting.default for setting in table() if setting.name != "nfs.export"}  # of tables
    assert check_file(PROJECT / "conf" / "aetherfs.toml").http == Settings().http


def test_sample_file_comments_on_every_setting() -> None:
    lines = (PROJECT / "conf" / "aetherfs.toml").read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert above.startswith("#"), line


def test_every_setting_is_in_the_operations_page() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    for setting in table():
        assert f"`{setting.name}`" in page
        assert setting.help
        assert setting.unit


def test_lock_pins_every_dependency_and_names_nothing_but_versions() -> None:
    lines = (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    known = {name.lower().replace("_", "-") for name in pins}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for requirement in wanted:
        assert re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower().replace("_", "-") in known


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[http]\nlisten = "127.0.0.1:1"\n[nfs]\nlisten = "127.0.0.1:2"\n[cache]\nmemory = "1KiB"\n'
    )
    environ = {"AETHERFS_HTTP_LISTEN": "127.0.0.1:3", "AETHERFS_NFS_LISTEN": "127.0.0.1:4"}
    settings = load(flags={"http.listen": "127.0.0.1:5"}, environ=environ, file=file)
    assert settings.http.listen == "127.0.0.1:5"
    assert settings.nfs.listen == "127.0.0.1:4"
    assert settings.cache.memory == 1024
    assert settings.cache.disk == 10 << 30


@pytest.mark.parametrize("variable", ["AETHERFS_STORE", "AETHERFS_STORE_URL"])
def test_store_has_a_short_and_a_long_environment_name(variable: str) -> None:
    assert load(environ={variable: "s3://bucket"}).store_address == "s3://bucket"


def test_environment_names_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, '[cache]\nmemory = "3MiB"\n')
    assert load(environ={"AETHERFS_CONFIG": str(file)}).cache.memory == 3 << 20


def test_no_store_given_is_the_folder_in_the_users_data_directory() -> None:
    assert load(environ={}).store_address == str(config.default_store())
    assert config.default_store().parts[-2:] == ("aetherfs", "store")


@pytest.mark.parametrize(
    ("text", "line", "nearest"),
    [
        ('[http]\n\nlisten = "off"\nlissten = "off"\n', 4, "http.listen"),
        ("# comment\n[chache]\ndisk = 1\n", 3, "cache.disk"),
        ("cache.memroy = 1\n", 1, "cache.memory"),
        ('\n[nfs]\n"portmapp" = true\n', 3, "nfs.portmap"),
        ("[nfs.deep]\n# note\nlisten = 3\n", 3, "nfs.listen"),
        ("\n[http]\nx = { y = 1 }\n", 2, ""),
    ],
)
def test_unknown_key_is_refused_with_its_line_and_the_nearest_known(
    tmp_path: Path, text: str, line: int, nearest: str
) -> None:
    with pytest.raises(ConfigError, match=rf"a\.toml, line {line}: there is no setting .*{nearest}"):
        check_file(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[cache]\nmemory = "lots"\n', "line 2: cache.memory: 'lots' is not a size"),
        ("[cache]\ndisk = -1\n", "line 2: cache.disk: -1 is not a size"),
        ("[cache]\ndisk = true\n", "line 2: cache.disk: True is not a size"),
        ('[http]\nlisten = "8080"\n', "line 2: http.listen: '8080' is not an address"),
        ('[http]\nlisten = "h:70000"\n', "a port is at most 65535"),
        ("[http]\nlisten = 8080\n", "line 2: http.listen: input should be a valid string, got 8080"),
        ("[nfs]\nportmap = 3\n", "line 2: nfs.portmap: input should be true or false"),
        ("[nfs]\nportmap_port = 65536\n", "line 2: nfs.portmap_port: 65536 is not a port from 0 to 65535"),
        ("[nfs\n", "a.toml: .*line 1"),
        ("a = 1\na = 2\n", "a.toml: .*line 2"),
    ],
)
def test_unusable_value_is_refused_with_where_it_stands(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_file(written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="utf-8"):
        check_file(file)


def test_file_larger_than_any_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        check_file(written(tmp_path, "#" * ((1 << 20) + 1)))


def test_named_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(environ={}, file=tmp_path / "none.toml")


def test_unusable_environment_value_names_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"AETHERFS_CACHE_DISK: cache.disk: 'much' is not a size"):
        load(environ={"AETHERFS_CACHE_DISK": "much"})


def test_unknown_variable_below_a_section_is_refused_and_others_are_left_alone() -> None:
    with pytest.raises(ConfigError, match=r"AETHERFS_HTTP_LISTN.*AETHERFS_HTTP_LISTEN"):
        load(environ={"AETHERFS_HTTP_LISTN": "x"})
    assert load(environ={"AETHERFS_TOKEN": "x", "AETHERFS_COLOUR": "red"}) == Settings()


def test_unusable_flag_names_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"--http: http.listen: 'nowhere' is not an address"):
        load(flags={"http.listen": "nowhere"}, environ={})


def test_relative_paths_of_a_file_start_at_its_folder(tmp_path: Path) -> None:
    settings = check_file(written(tmp_path, '[store]\nurl = "data"\nkey_file = "k"\n[cache]\ndir = "/abs"\n'))
    assert settings.store.url == str(tmp_path / "data")
    assert settings.store.key_file == str(tmp_path / "k")
    assert settings.cache_dir == Path("/abs")


def test_bucket_addresses_of_a_file_are_left_as_they_are(tmp_path: Path) -> None:
    assert check_file(written(tmp_path, 'store = "s3://b/p"\n')).store.url == "s3://b/p"


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512MiB", 512 << 20), ("10 GiB", 10 << 30), ("1.5KiB", 1536), ("10GB", 10**10), ("7", 7), ("9B", 9)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1XiB", "1e9", "\uff11"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(("value", "number"), [(1, 1), ("1024", 1024), (10.0, 10), (1_000_000, 1_000_000)])
def test_counts_are_whole_numbers(value: object, number: int) -> None:
    assert read_count(value) == number


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", "", True, None, "nan", "inf", 1_000_001])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="number"):
        read_count(value)


@pytest.mark.parametrize(("value", "seconds"), [(10, 10.0), ("0.5", 0.5), (3600, 3600.0)])
def test_seconds_may_have_fractions(value: object, seconds: float) -> None:
    assert read_seconds(value) == seconds


@pytest.mark.parametrize("value", [0, -1, "soon", "", False, None, "nan", "inf", 3601])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="number"):
        read_seconds(value)


@given(st.integers(0, 1 << 50))
def test_spelt_sizes_read_back(size: int) -> None:
    assert parse_size(spell_size(size)) == size


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:2049", Address("::1", 2049)),
        ("off", None),
        ("OFF", None),
    ],
)
def test_addresses_are_read(text: str, address: Address | None) -> None:
    assert parse_address(text) == address
    assert str(address or "off") == text.lower()


@pytest.mark.parametrize("text", ["", ":80", "host", "host:", "::1:80", "h:-1", "h:8o", "[h]:1", "h:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        parse_address(text)


def test_settings_survive_the_pipe_to_a_worker() -> None:
    settings = load(flags={"cache.memory": "5MiB", "http.listen": "off", "store.insecure": "true"}, environ={})
    order = Order(name="w", entry="m:f", listener_fds=(3,), status_fd=4, drain_s=1.0, log_level=20, settings=settings)
    told = Order.model_validate_json(order.model_dump_json()).settings
    assert told == settings
    assert (told.cache.memory, told.http.listen, told.store.insecure) == (5 << 20, "off", True)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("ON", True), ("1", True), ("no", False), ("0", False), ("False", False)]
)
def test_switches_are_read_as_people_write_them(text: str, value: bool) -> None:
    assert load(environ={"AETHERFS_STORE_INSECURE": text}).store.insecure is value


@pytest.mark.parametrize("text", ["", "2", "maybe", "truely"])
def test_what_is_no_switch_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"AETHERFS_STORE_INSECURE: .*true or false, got '{text}'"):
        load(environ={"AETHERFS_STORE_INSECURE": text})


def test_text_that_no_worker_could_be_told_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"AETHERFS_STORE: store\.url: input should be UTF-8"):
        load(environ={"AETHERFS_STORE": "/data/\udcff"})


def test_settings_are_spelt_as_they_are_written() -> None:
    written_down = {setting.name: setting.default for setting in table()}
    flat = {f"{s}.{key}": value for s, keys in spelled(Settings()).items() for key, value in keys.items()}
    assert flat == written_down


def test_a_flag_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no setting 'http.listn'; the nearest is 'http.listen'"):
        load(flags={"http.listn": "off"}, environ={})


@given(st.text(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "a.toml"
    file.write_text(text, encoding="utf-8", newline="")
    with contextlib.suppress(ConfigError):
        assert isinstance(check_file(file), Settings)


def test_grpc_has_the_certificate_of_http_unless_it_has_one_of_its_own() -> None:
    http = {"http.tls_cert": "/h.pem", "http.tls_key": "/h.key"}
    own = {"grpc.tls_cert": "/g.pem", "grpc.tls_key": "/g.key"}
    assert load(flags={}, environ={}).grpc_certificate == ("", "")
    assert load(flags=http, environ={}).grpc_certificate == ("/h.pem", "/h.key")
    assert load(flags=http | own, environ={}).grpc_certificate == ("/g.pem", "/g.key")
    assert load(flags=http | {"grpc.tls_key": "/g.key"}, environ={}).grpc_certificate == ("", "/g.key")  # is refused
    assert load(flags={"grpc.client_ca": "/ca.pem"}, environ={}).login
