"""What `aetherfs push --dry-run` says: what would be written, what it would cost, what is there already."""

from typing import TYPE_CHECKING

from gateway.cli.common import spell_bytes, spell_count, state_name

if TYPE_CHECKING:
    from store.push.cost import Prices
    from store.push.plan import Plan


def prices(storage_gb_month: float | None, put_1000: float | None) -> "Prices":
    """Return the list prices, with those that were given in their place."""
    from store.push.cost import S3_STANDARD

    given = {"storage_gb_month": storage_gb_month, "put_1000": put_1000}
    own = {name: price for name, price in given.items() if price is not None}
    return S3_STANDARD._replace(name="prices as given", listed="", **own) if own else S3_STANDARD


def written(dataset: str, plan: "Plan", prices: "Prices") -> tuple[dict[str, object], list[str]]:
    """Return a plan as a part of a JSON document, and as lines for people."""
    from store.push.cost import cost_of

    cost = cost_of(stored=plan.stored, puts=plan.puts, prices=prices)
    document: dict[str, object] = {
        "puts": plan.puts,
        "plan": {
            "new_chunks": plan.chunks,
            "packs": plan.packs,
            "manifest_bytes": plan.manifest,
            "puts": plan.puts,
            "stored_bytes": plan.stored,
            "conflicts": list(plan.conflicts),
        },
        "cost": {
            "prices": prices._asdict(),
            "currency": "USD",
            "storage_month": round(cost.storage_month, 9),
            "requests": round(cost.requests, 9),
        },
        "reuse": [
            {
                "tags": list(share.tags),
                "manifest": state_name(share.manifest),
                "shared_bytes": share.shared if share.readable else None,
                "of_bytes": plan.unique,
            }
            for share in plan.shares
        ],
    }
    listed = (
        f", list prices of {prices.listed}: --price-storage-gb-month and --price-put-1000 set others"
        if prices.listed
        else ""
    )
    lines = [
        f"would write {spell_bytes(plan.stored)} in {spell_count(plan.chunks, 'new chunk')}, "
        f"{spell_count(plan.packs, 'pack')} and {'a' if plan.manifest else 'no'} manifest: "
        f"{spell_count(plan.puts, 'PUT')}",
        f"would cost {_dollars(cost.storage_month)} a month for storage, {_dollars(cost.requests)} once for requests "
        f"({prices.name}{listed})",
    ]
    for share in plan.shares:
        names = " ".join(f"{dataset}:{tag}" for tag in share.tags)
        part = f" ({100 * share.shared // plan.unique} %)" if plan.unique else ""
        said = f"{spell_bytes(share.shared)} of {spell_bytes(plan.unique)}{part}" if share.readable else "not readable"
        lines.append(f"shared with {names}: {said}")
    lines += [
        f"{dataset}:{tag} has other content, and versions never move: this push would end with exit code 5"
        for tag in plan.conflicts
    ]
    return document, lines


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 or not amount else f"${amount:.6f}"
