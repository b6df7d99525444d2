"""The one table of settings, and how a value is found: flag, else environment, else file, else default.

Every setting has a name, type, default, unit and help here and nowhere else; `conf/aetherfs.toml` and
docs/operations.md repeat them for people, and tests compare. Environment names are `AETHERFS_<SECTION>_<KEY>`, and a
few short ones (`SHORT_NAMES`). Only this package reads the environment; below it, code takes values.

Threads: `Settings` is frozen; `load` reads one file and keeps nothing. The sections are plain dataclasses with readers
of our own, since every command waits for this module, and importing a validating library took half of that time.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from gateway.config_file import read_config_file
from gateway.export_rules import MOST_NETWORKS, ExportRule, RuleUnusable, read_network, read_rules

APP: Final = "aetherfs"
OFF: Final = "off"
KEY_VARIABLE: Final = "AETHERFS_KEY"  # the key of an encrypted store itself, which is no setting: no file may hold it
FILE: Final = "file"
KEYRING: Final = "keyring"
SHORT_NAMES: Final = {"AETHERFS_STORE": "store.url", "AETHERFS_KEY_FILE": "store.key_file"}
PATHS: Final = (  # given in a file, they start at that file's folder
    "store.key_file", "cache.dir", "http.access_log", "http.tls_cert", "http.tls_key", "http.client_ca", "nfs.tls_cert",
    "nfs.tls_key", "nfs.client_ca", "grpc.tls_cert", "grpc.tls_key", "grpc.client_ca", "auth.policy", "auth.audit_log",
    "auth.certificates", "auth.basic.htpasswd", "auth.oidc.client_secret_file",
)  # fmt: skip
_WORDS: Final = {"http.access_log": "-", "auth.audit_log": "-", "auth.policy": "store"}  # that are no paths there
_SIZE: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,3}))?\s*([KMGT]i?)?B?", re.IGNORECASE | re.ASCII)
_SWITCHES: Final = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class ConfigError(Exception):
    """A setting cannot be used. The message names the setting, where it was given, and what would do."""


class Address(NamedTuple):
    """Where an interface listens. Port 0 lets the system pick one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Spell it as it is written in settings: `127.0.0.1:8080`, `[::1]:8080`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """Read `HOST:PORT`, `[V6]:PORT`, or `off` (`None`).

    Raises:
        ValueError: neither; the message says what was expected.
    """
    if text.strip().lower() == OFF:
        return None
    host, colon, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare) != (bare != host) or not port.isascii() or not port.isdigit():
        raise ValueError(f"{text!r} is not an address such as 127.0.0.1:8080 or [::1]:8080, or {OFF!r}")
    if int(port) > 65535:
        raise ValueError(f"{text!r}: a port is at most 65535")
    return Address(bare, int(port))


def parse_size(value: object) -> int:
    """Read a size in bytes: a number, or text such as `512MiB` (powers of 1024) or `10GB` (powers of 1000).

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a size such as '512MiB'")
    whole, thousandths, unit = found[1], (found[2] or "").ljust(3, "0"), (found[3] or "").lower()
    base = 1024 if unit.endswith("i") else 1000
    factor: int = base ** _POWERS[unit.rstrip("i")]
    return (int(whole) * 1000 + int(thousandths)) * factor // 1000


def spell_size(size: int) -> str:
    """Write a size as people do: the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = 1024 ** _POWERS[unit[0].lower()]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def read_text(value: object) -> str:
    """Take text as it is.

    Raises:
        ValueError: anything else; or bytes of an environment that are no UTF-8, which no worker could be told.
    """
    if not isinstance(value, str):
        raise ValueError(f"input should be a valid string, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"input should be UTF-8, got {value!r}") from error
    return value


def read_switch(value: object) -> bool:
    """Read true or false: itself, or a word for it as environment and flags have it.

    Raises:
        ValueError: anything else.
    """
    switch = value if isinstance(value, bool) else _SWITCHES.get(str(value).lower())
    if switch is None:
        raise ValueError(f"input should be true or false, got {value!r}")
    return switch


def read_listen(value: object) -> str:
    """Take where an interface listens, as text that `parse_address` understands.

    Raises:
        ValueError: anything else.
    """
    text = read_text(value)
    parse_address(text)
    return text


def read_one_of(*words: str) -> Callable[[object], str]:
    """Return what takes one of a few words, and raises a ValueError for anything else."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(map(repr, words))}")
        return str(value)

    return read


def read_count(value: object) -> int:
    """Take how many of something there may be.

    Raises:
        ValueError: anything but a whole number from 1 to a million.
    """
    number = _number(value)
    if not 1 <= number <= 1_000_000 or number != int(number):
        raise ValueError(f"{value!r} is not a whole number from 1 to 1000000")
    return int(number)


def read_seconds(value: object) -> float:
    """Take a time in seconds.

    Raises:
        ValueError: anything but a number from 0.1 to 3600.
    """
    seconds = _number(value)
    if not 0.1 <= seconds <= 3600:
        raise ValueError(f"{value!r} is not a number of seconds from 0.1 to 3600")
    return seconds


def read_hours(value: object) -> float:
    """Take a time in hours.

    Raises:
        ValueError: anything but a number from 0.1 to 720, a month.
    """
    hours = _number(value)
    if not 0.1 <= hours <= 720:
        raise ValueError(f"{value!r} is not a number of hours from 0.1 to 720")
    return hours


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"input should be a number, got {value!r}")
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"input should be a number, got {value!r}") from error


def read_networks(value: object) -> tuple[str, ...]:
    """Take addresses and networks: a list of texts, or (from the environment) one text with commas between.

    Raises:
        ValueError: anything else; also what is all there are, since whoever asks would then be believed.
    """
    words = [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'{value!r} is not a list of addresses or networks, such as ["10.1.0.0/16", "::1"]')
    if len(words) > MOST_NETWORKS:
        raise ValueError(f"more than {MOST_NETWORKS} addresses and networks")
    found = []
    for word in words:
        try:
            network = read_network(word)
        except ValueError as error:
            raise ValueError(f"{word[:80]!r} is no address and no network: {error}") from error
        if network is None or not network.prefixlen:
            raise ValueError(f"{word!r} is every address: whoever asks could say to be anybody else")
        found.append(str(network))
    return tuple(found)


def read_port(value: object) -> int:
    """Take a port.

    Raises:
        ValueError: anything but a whole number from 0 to 65535.
    """
    number = _number(value)
    if not 0 <= number <= 65535 or number != int(number):
        raise ValueError(f"{value!r} is not a port from 0 to 65535")
    return int(number)


def _setting(read: Callable[[object], object], default: object, unit: str, text: str) -> Any:  # a field of any type
    more = {"read": read, "written": default, "unit": unit, "help": text}
    return dataclasses.field(default=read(default), metadata=more)


@dataclasses.dataclass(frozen=True)
class StoreSettings:
    """Where everything durable lies."""

    url: str = _setting(
        read_text,
        "",
        "store address",
        "Where the store lies: /some/folder, or s3://bucket/prefix?endpoint=URL&region=NAME (credentials come from the "
        "standard AWS chain). Empty: the folder aetherfs/store in the user's data directory, made at first use.",
    )
    key_file: str = _setting(
        read_text,
        "",
        "path",
        "File with the key of an encrypted store, which nobody else may read. Empty: AETHERFS_KEY, kms_key, or the key "
        "that `aetherfs init --encrypt` left in the user's configuration folder.",
    )
    kms_key: str = _setting(
        read_text, "", "key id, ARN or alias", "Key of AWS KMS that keeps the key of an encrypted store. Empty: none."
    )
    insecure: bool = _setting(read_switch, False, "true or false", "Allow an http:// S3 endpoint on another machine.")


@dataclasses.dataclass(frozen=True)
class CacheSettings:
    """What is kept near, only to be faster: it may be deleted at any time."""

    dir: str = _setting(
        read_text,
        "",
        "path",
        "Folder of the disk cache. Empty: aetherfs in the user's cache directory; none for a folder store.",
    )
    memory: int = _setting(parse_size, "512MiB", "bytes", "Most memory for plain chunks, in each worker process.")
    disk: int = _setting(
        parse_size, "10GiB", "bytes", "Most disk for stored blocks, shared by all workers. 0: no disk cache."
    )
    key: str = _setting(
        read_one_of(FILE, KEYRING),
        FILE,
        "file or keyring",
        "Where the key lies that seals the disk cache of a store that is not encrypted itself: aetherfs/local.key in "
        "the user's state directory, made at first use, or the system's keyring.",
    )


@dataclasses.dataclass(frozen=True)
class HttpSettings:
    """Plain files, folder pages and WebDAV."""

    listen: str = _setting(
        read_listen, "127.0.0.1:8080", "HOST:PORT", "Where HTTP and WebDAV answer; port 0 picks one, off: not."
    )
    access_log: str = _setting(
        read_text, "", "path", "File that gets a line for each request; - is standard error. Empty: none is kept."
    )
    access_format: str = _setting(
        read_one_of("combined", "json"), "combined", "combined or json", "Form of the access log's lines."
    )
    tls_cert: str = _setting(
        read_text,
        "",
        "path",
        "File with the certificate (PEM), followed by those that lead to its root. Empty: no TLS. Read again when it "
        "changes.",
    )
    tls_key: str = _setting(read_text, "", "path", "File with the certificate's private key (PEM), not encrypted.")
    client_ca: str = _setting(
        read_text,
        "",
        "path",
        "File with the certificates (PEM) of those who may vouch for clients, which then may log in by a certificate "
        "of their own. Empty: they may not.",
    )
    public_url: str = _setting(
        read_text,
        "",
        "URL",
        "Where browsers reach this gateway, such as https://data.example.org: what a login provider sends them back "
        "to. Empty: the address that they asked.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        read_networks,
        [],
        "addresses or networks",
        "Proxies before this gateway whose X-Forwarded-For is believed; the last address in it that is none of theirs "
        "is the client's, for logs and for slowing down who guesses. None: the address of the connection counts.",
    )


@dataclasses.dataclass(frozen=True)
class NfsSettings:
    """NFSv3, MOUNT v3 and NLM v4, on one TCP port."""

    listen: str = _setting(
        read_listen, "127.0.0.1:2049", "HOST:PORT", "Where NFS, MOUNT and NLM answer; port 0 picks one, off: not."
    )
    portmap: bool = _setting(
        read_switch,
        False,
        "true or false",
        "Tell clients the port: by a portmapper on port 111, TCP and UDP, or by the rpcbind that has it.",
    )
    portmap_port: int = _setting(
        read_port,
        111,
        "port",
        "Where the portmapper answers, on the host of nfs.listen. Clients ask port 111 alone: another is for "
        "forwarding to, and for tests.",
    )
    small_fileids: bool = _setting(
        read_switch,
        False,
        "true or false",
        "Show file numbers of 31 bits, for programs built for 32 bits. In large trees two files may share one.",
    )
    connections: int = _setting(
        read_count,
        1024,
        "number",
        "Most connections, in each worker process. For one more, one goes that was silent for long, or one of the "
        "address that has most.",
    )
    in_flight: int = _setting(
        parse_size,
        "256MiB",
        "bytes",
        "Most bytes of replies that are being made or sent, in each worker process. Beyond, each connection gets "
        "1 MiB, and those go that take nothing.",
    )
    record_time: float = _setting(
        read_seconds, 10.0, "seconds", "How long a client may take to send one call, from its first byte to its last."
    )
    patience: float = _setting(
        read_seconds,
        10.0,
        "seconds",
        "How long a call may wait for the store before its client is told to come again (NFS3ERR_JUKEBOX).",
    )
    tls: str = _setting(
        read_one_of(OFF, "allow", "require"),
        OFF,
        "off, allow or require",
        "RPC-with-TLS (RFC 9289): not offered, taken by those clients that ask for it, or needed for every file.",
    )
    tls_cert: str = _setting(read_text, "", "path", "As http.tls_cert, for NFS.")
    tls_key: str = _setting(read_text, "", "path", "As http.tls_key, for NFS.")
    client_ca: str = _setting(read_text, "", "path", "As http.client_ca, for NFS.")
    export: tuple[ExportRule, ...] = _setting(
        read_rules,
        [],
        "tables",
        "Which addresses may mount, as whom, and who owns everything, by rules written [[nfs.export]]; the first that "
        "fits decides. None: this machine, as anonymous.",
    )


@dataclasses.dataclass(frozen=True)
class GrpcSettings:
    """The services of `aetherfs.v1`, in one process."""

    listen: str = _setting(
        read_listen, "127.0.0.1:8081", "HOST:PORT", "Where gRPC answers; port 0 picks one, off: not."
    )
    tls_cert: str = _setting(
        read_text, "", "path", "As http.tls_cert, for gRPC. Empty, and grpc.tls_key too: those of HTTP."
    )
    tls_key: str = _setting(read_text, "", "path", "As http.tls_key, for gRPC.")
    client_ca: str = _setting(
        read_text,
        "",
        "path",
        "File with the certificates (PEM) of those who may vouch for clients. By gRPC each client then needs a "
        "certificate of its own. Empty: none is asked for.",
    )


@dataclasses.dataclass(frozen=True)
class AuthSettings:
    """Who may see what. With a policy, a section below or a client_ca, only what the policy allows is allowed."""

    policy: str = _setting(
        read_text,
        "",
        "path, or store",
        "File with the policy, or `store`: the one that `aetherfs policy set` keeps in the bucket. Empty: none, which "
        "with login allows nothing. Read again when it changes.",
    )
    audit_log: str = _setting(
        read_text,
        "",
        "path",
        "File that gets a line of JSON for each login, refusal and change; - is standard error. Empty: none is kept.",
    )
    audit_reads: bool = _setting(
        read_switch,
        False,
        "true or false",
        "Have the audit log tell of every read by HTTP and gRPC too, and of every mount by NFS.",
    )
    certificates: str = _setting(
        read_text,
        "",
        "path",
        "File that says whose client certificates are, a line each: sha256:FINGERPRINT or a subject alternative name "
        "such as email:ada@example.org, then the user. Empty: the certificate's own first e-mail address, URI or DNS "
        "name is the user.",
    )
    session_time: float = _setting(
        read_hours, 12.0, "hours", "How long a browser stays logged in, from 0.1 to 720; then it has to log in again."
    )


@dataclasses.dataclass(frozen=True)
class BasicSettings:
    """Users with passwords."""

    htpasswd: str = _setting(
        read_text,
        "",
        "path",
        "File with users and hashes of their passwords (bcrypt or argon2id), which `aetherfs user` writes. Empty: "
        "none. Read again when it changes.",
    )


@dataclasses.dataclass(frozen=True)
class OidcSettings:
    """Users of an OpenID provider."""

    issuer: str = _setting(read_text, "", "URL", "The provider, as it calls itself. Empty: none.")
    client_id: str = _setting(read_text, "", "text", "How the provider knows this gateway and its commands.")
    client_secret_file: str = _setting(
        read_text, "", "path", "File with the secret that goes with it, where the provider wants one."
    )
    audience: str = _setting(
        read_text, "", "text", "Whom access tokens must be meant for. Empty: the client_id, as in ID tokens."
    )
    user_claim: str = _setting(read_text, "sub", "claim", "Which claim names the user.")
    groups_claim: str = _setting(read_text, "groups", "claim", "Which claim lists the user's groups.")
    scopes: str = _setting(
        read_text, "openid profile email offline_access", "words", "What is asked of the provider at login."
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a gateway and of the commands."""

    store: StoreSettings = StoreSettings()
    cache: CacheSettings = CacheSettings()
    http: HttpSettings = HttpSettings()
    nfs: NfsSettings = NfsSettings()
    grpc: GrpcSettings = GrpcSettings()
    auth: AuthSettings = AuthSettings()
    auth_basic: BasicSettings = BasicSettings()  # section auth.basic
    auth_oidc: OidcSettings = OidcSettings()

    @property
    def login(self) -> bool:
        """Tell whether anybody has to say who they are, so that a policy decides."""
        authorities = self.http.client_ca or self.nfs.client_ca or self.grpc.client_ca
        return bool(self.auth.policy or self.auth_basic.htpasswd or self.auth_oidc.issuer or authorities)

    @property
    def grpc_certificate(self) -> tuple[str, str]:
        """Say which files gRPC has its certificate and key from: its own, else those of HTTP; empty: no TLS."""
        if self.grpc.tls_cert or self.grpc.tls_key:
            return self.grpc.tls_cert, self.grpc.tls_key
        return self.http.tls_cert, self.http.tls_key

    @property
    def store_address(self) -> str:
        """Say where the store lies, the default made explicit."""
        return self.store.url or str(default_store())

    @property
    def cache_dir(self) -> Path:
        """Say where the disk cache lies, the default made explicit."""
        return Path(self.cache.dir) if self.cache.dir else Path(platformdirs.user_cache_dir(APP, appauthor=False))


class Setting(NamedTuple):
    """One row of the table, for help, reference pages and checks."""

    name: str  # section.key
    default: object  # as it is written in a file
    unit: str
    help: str
    read: Callable[[object], object]  # as it is given -> as the settings hold it; raises ValueError

    @property
    def environment(self) -> str:
        """Name the environment variable."""
        return f"AETHERFS_{self.name.replace('.', '_').upper()}"


def default_store() -> Path:
    """Name the folder of the embedded store."""
    return Path(platformdirs.user_data_dir(APP, appauthor=False)) / "store"


def state_dir() -> Path:
    """Name the folder that remembers what pushes read and what pulls put where.

    It lies apart from the cache: without it a pull cannot tell its own files from the user's.
    """
    return Path(platformdirs.user_state_dir(APP, appauthor=False))


def key_given(settings: Settings, environ: Mapping[str, str] | None = None) -> str:
    """Say by which of the ways a key was given; empty: by none.

    Raises:
        ConfigError: by several.
    """
    variables = os.environ if environ is None else environ
    ways = [
        name
        for name, value in (
            ("store.key_file", settings.store.key_file),
            (KEY_VARIABLE, variables.get(KEY_VARIABLE, "")),
            ("store.kms_key", settings.store.kms_key),
        )
        if value
    ]
    if len(ways) > 1:
        raise ConfigError(
            f"{' and '.join(ways)} are both set: unset all but one, so that it is clear which key is meant"
        )
    return ways[0] if ways else ""


def own_key_file(store: str) -> Path:
    """Name the file in which this user keeps the key of an encrypted store where nothing else is set."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False)) / "keys" / f"{store}.key"


def default_config_file() -> Path:
    """Name the file that is read when none is named; it need not exist."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False)) / "aetherfs.toml"


def table() -> Iterator[Setting]:
    """Yield every setting, in the order of the file."""
    for section, kind in _sections().items():
        for entry in dataclasses.fields(kind):
            more = entry.metadata
            yield Setting(
                f"{section.replace('_', '.')}.{entry.name}", more["written"], more["unit"], more["help"], more["read"]
            )


def spelled(settings: Settings) -> dict[str, dict[str, object]]:
    """Return all settings by section and key, each as it is written in a file."""
    found: dict[str, dict[str, object]] = dataclasses.asdict(settings)
    for setting in table():
        section, _, key = setting.name.rpartition(".")
        if setting.read is parse_size:
            found[section][key] = spell_size(getattr(getattr(settings, section), key))
    found["http"]["trusted_proxies"] = [*settings.http.trusted_proxies]
    found["nfs"]["export"] = [rule.written() for rule in settings.nfs.export]
    return {section.replace("_", "."): values for section, values in found.items()}


def load(
    *, flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> Settings:
    """Find every setting's value.

    Args:
        flags: `section.key` -> value, of the command line; these win.
        environ: the environment; `os.environ` if `None`.
        file: the configuration file; if `None`, `AETHERFS_CONFIG` names it, else the default one is read if it exists.

    Raises:
        ConfigError: unknown key, unusable value, or a named file that cannot be read.
    """
    variables = os.environ if environ is None else environ
    if file is None and variables.get("AETHERFS_CONFIG"):
        file = Path(variables["AETHERFS_CONFIG"])
    found: dict[str, tuple[object, str]] = {}  # name -> value, where it was given
    if file is not None or default_config_file().is_file():
        found.update(_from_file(file or default_config_file()))
    found.update(_from_environment(variables))
    found.update({name: (value, f"--{name.partition('.')[0]}") for name, value in (flags or {}).items()})
    return _validate(found)


def check_file(file: Path) -> Settings:
    """Read one file alone, with neither environment nor flags.

    Raises:
        ConfigError: as `load`.
    """
    return _validate(_from_file(file))


def _from_file(file: Path) -> dict[str, tuple[object, str]]:
    known = [setting.name for setting in table()]
    found: dict[str, tuple[object, str]] = {}
    try:
        entries = read_config_file(file)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    for entry in entries:
        where = f"{file}, line {entry.line}"
        name = "store.url" if entry.name == "store" else entry.name  # `store = "..."` is short for it
        if name not in known:
            raise ConfigError(f"{where}: there is no setting {name!r}{_nearest(name, known)}")
        value = entry.value
        local = (name in PATHS and value != _WORDS.get(name)) or (name == "store.url" and "://" not in str(value))
        if local and isinstance(value, str) and value:
            value = str(file.absolute().parent / Path(value).expanduser())
        found[name] = (value, where)
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    names = {setting.environment: setting.name for setting in table()} | SHORT_NAMES
    sections = tuple(f"AETHERFS_{section.upper()}_" for section in _sections())
    for variable in environ:
        # Only names below a section are claimed: others may be another tool's.
        if variable.startswith(sections) and variable not in names:
            raise ConfigError(f"the environment has {variable}, which is no setting{_nearest(variable, list(names))}")
    return {name: (environ[variable], variable) for variable, name in names.items() if variable in environ}


def _validate(found: Mapping[str, tuple[object, str]]) -> Settings:
    sections = _sections()
    values: dict[str, dict[str, Any]] = {section: {} for section in sections}
    readers = {setting.name: setting.read for setting in table()}
    for name, (value, where) in found.items():
        if name not in readers:
            raise ConfigError(f"{where}: there is no setting {name!r}{_nearest(name, list(readers))}")
        section, _, key = name.rpartition(".")
        try:
            values[section.replace(".", "_")][key] = readers[name](value)
        except RuleUnusable as error:
            at = f"{where.rpartition(', line ')[0]}, line {error.line}" if error.line else where
            raise ConfigError(f"{at}: {name}: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{where}: {name}: {error}") from error
    return Settings(**{section: kind(**values[section]) for section, kind in sections.items()})


def _sections() -> dict[str, Any]:
    return {section.name: type(section.default) for section in dataclasses.fields(Settings)}


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; the nearest is {near[0]!r}" if near else ""
