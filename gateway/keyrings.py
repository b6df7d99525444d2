"""The system's keyring (Secret Service, macOS Keychain), by the library `keyring`: asked in a thread of its own.

A keyring that is locked waits for somebody at a screen, who may not be there. Any thread; waits KEYRING_S at most.
"""

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Final

SERVICE: Final = "aetherfs"  # under this name our entries lie in it
KEYRING_S: Final = 60.0


class NoKeyring(Exception):
    """No keyring can be used. The message says why, and what to do about it."""


def ask_keyring(question: Callable[[ModuleType], str | None]) -> str | None:
    """Have a question answered by the library.

    Raises:
        NoKeyring: it is not installed, or cannot be used.
    """
    try:
        import keyring
    except ImportError as error:
        raise NoKeyring('its library is not installed: pip install "aetherfs[keyring]"') from error
    answer: list[str | None] = []
    why = f"it did not answer within {KEYRING_S:.0f} s"

    def run() -> None:
        nonlocal why
        try:
            answer.append(question(keyring))
        except Exception as error:  # each kind of keyring has errors of its own
            kind = type(error).__name__
            # The library's own words for this are about installing others.
            why = "there is none" if kind == "NoKeyringError" else next(iter(str(error).strip().splitlines()), kind)

    asking = threading.Thread(target=run, name="keyring", daemon=True)
    asking.start()
    asking.join(KEYRING_S)
    if not answer:
        raise NoKeyring(
            f"no keyring can be used ({why}): start or unlock one (GNOME Keyring, KWallet, ...) in the session of this "
            "process"
        )
    return answer[0]
