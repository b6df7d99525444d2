"""Where each object lies in the bucket: one function a kind of object, nothing else.

Keys are ASCII. `datasets/<hh>/` spreads dataset heads over 256 prefixes, so that a listing can be split and a change
hint covers few of them; `hh` is the first byte of the BLAKE3 digest of the name. A scoped name keeps its slash.

Leaves what stands in the objects to others. Pure functions, any thread. docs/format.md, Objects.
"""

from typing import Final

import blake3

ROOT_KEY: Final = "aetherfs.json"
GC_STATE_KEY: Final = "gc/state"
DATASETS: Final = "datasets/"
PACKS: Final = "packs/"
MANIFESTS: Final = "manifests/"
PUSHES: Final = "pushes/"
ENDED_KEY: Final = "auth/ended-sessions"
POLICY_KEY: Final = "auth/policy"
TOKENS: Final = "auth/tokens/"
TOKEN_NAMES: Final = "auth/token-names/"  # noqa: S105  # where names lie


def name_prefix(dataset: str) -> str:
    """Return the two hex digits under which a dataset's head and its change hint lie."""
    return blake3.blake3(dataset.encode()).hexdigest(length=1)


def dataset_key(dataset: str) -> str:
    """Return the key of a dataset's head."""
    return f"{DATASETS}{name_prefix(dataset)}/{dataset}"


def dataset_of_key(key: str) -> str | None:
    """Return the dataset whose head lies at `key`, or `None` where a key below `datasets/` is not one of ours."""
    if not key.startswith(DATASETS):
        return None
    prefix, _, dataset = key.removeprefix(DATASETS).partition("/")
    return dataset if dataset and dataset.isascii() and name_prefix(dataset) == prefix else None


def history_key(dataset: str, number: int, digest: str) -> str:
    """Return the key of what a head moved out; `number` counts up, the digest keeps two writers of one number apart."""
    return f"history/{dataset}/{number}-{digest[:16]}"


def manifest_key(manifest: str, root: str = "") -> str:
    """Return the key of a manifest; `manifest` is its id in hex.

    With `root`, the digest of its table in hex: its second key, for when the first is being deleted.
    """
    return f"{MANIFESTS}{manifest[:2]}/{manifest}" + (f"-{root[:16]}" if root else "")


def pack_key(pack: str) -> str:
    """Return the key of a pack; `pack` is its id in hex."""
    return f"{PACKS}{pack[:2]}/{pack}"


def index_key(prefix: str, segment: str) -> str:
    """Return the key of one index segment."""
    return f"index/{prefix}/{segment}"


def moved_key(pack: str) -> str:
    """Return the key of the note that says where the blocks of a removed pack lie now."""
    return f"moved/{pack}"


def change_key(prefix: str) -> str:
    """Return the key of the hint that is rewritten after each commit below `datasets/<prefix>/`."""
    return f"changes/{prefix}"


def push_key(push: str) -> str:
    """Return the key of a running push's heartbeat."""
    return f"{PUSHES}{push}"


def token_key(token: str) -> str:
    """Return the key of what is kept of a token; `token` is its id."""
    return f"{TOKENS}{token}"


def token_name_key(name: str) -> str:
    """Return the key of what says whose a token's name is, whatever characters it has."""
    return f"{TOKEN_NAMES}{blake3.blake3(name.encode()).hexdigest(length=16)}"


def token_owner_key(user: str) -> str:
    """Return the key of what says which tokens a user has, whatever characters the user's name has."""
    return f"auth/token-owners/{blake3.blake3(user.encode('utf-8', 'surrogatepass')).hexdigest(length=16)}"


def token_use_key(token: str) -> str:
    """Return the key of what says when a token was last used; `token` is its id."""
    return f"auth/token-uses/{token}"
