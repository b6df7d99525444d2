"""Content-Disposition: that a file is to be kept, not shown, and under which name (RFC 6266, RFC 8187). Pure."""

import re
from typing import Final
from urllib.parse import quote

# `%`, quotes and backslashes are read differently by different browsers; they stand in `filename*` alone.
_PLAIN: Final = re.compile(r"[^A-Za-z0-9 !#$&'()+,.;=@\[\]^_`{}~-]")
_ATTR_CHAR: Final = "!#$&+-.^_`|~"  # besides letters and digits: RFC 8187 section 3.2.1


def attachment(name: bytes) -> str:
    """Return the value of a Content-Disposition that names a file; bytes that are not UTF-8 show as U+FFFD."""
    text = name.decode("utf-8", "replace")
    plain = _PLAIN.sub("_", text)
    value = f'attachment; filename="{plain}"'
    if plain == text:
        return value
    return f"{value}; filename*=UTF-8''{quote(text, safe=_ATTR_CHAR)}"
