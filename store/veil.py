"""What pushes and pulls of an encrypted store keep in local files shows nothing without the store's key.

A `Veil` is made from a key of the store's that serves nothing else. Of a plain store there is none, and its files are
plain: `open_file`, `open_unnamed` and `name_of` do the one or the other. Keys derived from it, by HKDF-SHA256:

    salt                 info                       for
    32 random bytes      "aetherfs/1/local"         one file (`store.veiled_file`)
    32 random bytes      "aetherfs/1/local/line"    one line of text
    none                 "aetherfs/1/local/word"    words: AES-256-SIV, so that one state has one name
    none                 "aetherfs/1/local/name"    names: keyed BLAKE3

What still shows: that there are such files and when they were written, how large they are, that two words are the same.

`cryptography` is imported by those who make a `Veil`; it takes some hundredths of a second. Any thread; a file is one
thread's.
"""

import base64
import binascii
import io
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from blake3 import blake3

from store.veiled_file import HEADER, MAGIC, NONCE, SALT, VERSION, LocalFile, VeilBroken, VeiledFile, read_size

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE: Final = 32
Mode = Literal["rb", "r+b", "wb", "x+b"]

_FILE: Final = b"aetherfs/1/local"
_LINE: Final = b"aetherfs/1/local/line"
_WORD: Final = b"aetherfs/1/local/word"
_NAME: Final = b"aetherfs/1/local/name"
_RAW_MODES: Final[dict[str, str]] = {
    "rb": "rb",
    "r+b": "r+b",
    "wb": "w+b",
    "x+b": "x+b",
}  # a page is read to be changed


class Veil:
    """Seals local files, lines and names of one store."""

    def __init__(self, key: bytes) -> None:
        """Take the store's key for local files, `KEY_SIZE` bytes."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._key = key
        self._siv = AESSIV(_derived(key, None, _WORD, 64))
        self._name_key = _derived(key, None, _NAME, 32)

    def open(self, path: Path, mode: Mode, purpose: bytes) -> VeiledFile:
        """Open a sealed file as `open` does a plain one.

        Args:
            path: of the file.
            mode: as for `open`; unbuffered.
            purpose: what it is for, which has to be the same whenever it is opened.

        Raises:
            VeilBroken: it is there, but damaged, of another store or of another purpose.
            OSError: it can't be opened or written.
        """
        file = io.FileIO(path, _RAW_MODES[mode])
        try:
            return self._existing(file, purpose) if mode in ("rb", "r+b") else self._new(file, purpose, passing=False)
        except BaseException:
            file.close()
            raise

    def open_unnamed(self, folder: Path | None, purpose: bytes) -> VeiledFile:
        """Make a sealed file without a name, which ends with the process.

        Args:
            folder: where; `None`: among the system's temporary files.
            purpose: what it is for.

        Raises:
            OSError: it can't be made.
        """
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed with what is returned
        try:
            return self._new(file, purpose, passing=True)
        except BaseException:
            file.close()
            raise

    def _new(self, file: io.FileIO, purpose: bytes, *, passing: bool) -> VeiledFile:
        salt = os.urandom(SALT)
        file.write(HEADER.pack(MAGIC, VERSION, salt))
        return VeiledFile(file, self._cipher(salt, _FILE), purpose, None, passing=passing)

    def _existing(self, file: io.FileIO, purpose: bytes) -> VeiledFile:
        try:
            magic, version, salt = HEADER.unpack(os.pread(file.fileno(), HEADER.size, 0))
        except struct.error:
            raise VeilBroken(0, "a local file has no header") from None
        if magic != MAGIC or version != VERSION:
            raise VeilBroken(0, "a local file is not one that is sealed, or of another version")
        cipher = self._cipher(salt, _FILE)
        size = read_size(file.fileno(), cipher, purpose)
        return VeiledFile(file, cipher, purpose, size, passing=False)

    def line(self, text: str, purpose: bytes) -> str:
        """Seal a line of text, into one of ASCII letters, digits, `-`, `_` and `=`.

        Its key is its own, by a random salt, so no two nonces of one key have to differ; it is random all the same.
        """
        salt, nonce = os.urandom(SALT), os.urandom(NONCE)
        sealed = self._cipher(salt, _LINE).encrypt(nonce, text.encode(), purpose)
        return base64.urlsafe_b64encode(salt + nonce + sealed).decode("ascii")

    def unline(self, line: str, purpose: bytes) -> str | None:
        """Return what was sealed as a line; `None` for a damaged one, and for one of another store or purpose."""
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(line.encode("ascii"), altchars=b"-_", validate=True)
            salt, nonce, sealed = data[:SALT], data[SALT : SALT + NONCE], data[SALT + NONCE :]
            return self._cipher(salt, _LINE).decrypt(nonce, sealed, purpose).decode()
        except (InvalidTag, ValueError):  # too short a nonce, no base64 and no UTF-8 are `ValueError` too
            return None

    def word(self, data: bytes, purpose: bytes) -> bytes:
        """Seal what is to stand in a file's name: lower-case letters and digits, always the same for the same bytes."""
        return base64.b32encode(self._siv.encrypt(data, [purpose])).rstrip(b"=").lower()

    def unword(self, word: bytes, purpose: bytes) -> bytes | None:
        """Return what was sealed as a word; `None` for what was not, or with another key."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv.decrypt(base64.b32decode(word.upper() + b"=" * (-len(word) % 8)), [purpose])
        except (InvalidTag, binascii.Error, ValueError):
            return None

    def name(self, data: bytes) -> str:
        """Return a file's name for what it is about, 64 hex digits; nobody without the key can try what fits it."""
        return blake3(data, key=self._name_key).hexdigest()

    def _cipher(self, salt: bytes, info: bytes) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_derived(self._key, salt, info, 32))


def _derived(key: bytes, salt: bytes | None, info: bytes, size: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(key)


def open_file(path: Path, mode: Mode, veil: Veil | None, purpose: bytes) -> LocalFile:
    """Open a local file: sealed where there is a veil, else plain and buffered. Arguments and errors as `Veil.open`."""
    return path.open(mode) if veil is None else veil.open(path, mode, purpose)


def open_unnamed(folder: Path | None, veil: Veil | None, purpose: bytes) -> LocalFile:
    """Make a file without a name, sealed or plain. Arguments and errors as for `Veil.open_unnamed`."""
    return tempfile.TemporaryFile(dir=folder) if veil is None else veil.open_unnamed(folder, purpose)


def name_of(data: bytes, veil: Veil | None) -> str:
    """Return a local file's name for what it is about: 64 hex digits."""
    return blake3(data).hexdigest() if veil is None else veil.name(data)
