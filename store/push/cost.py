"""What storing and writing costs: prices, and sums of them. Estimates, before taxes, free tiers and volume discounts.

Pure; any thread. The table is of list prices; whoever pays others gives them.
"""

from typing import Final, NamedTuple

GB: Final = 1 << 30  # what S3's price list calls a GB


class Prices(NamedTuple):
    """What a store charges, in US dollars."""

    name: str
    listed: str  # year whose list price this is; empty where the caller said it
    storage_gb_month: float
    put_1000: float


class Cost(NamedTuple):
    """What some work costs, in US dollars."""

    storage_month: float  # each month, for what is added
    requests: float  # once


S3_STANDARD: Final = Prices("S3 Standard, us-east-1", "2025", storage_gb_month=0.023, put_1000=0.005)


def cost_of(*, stored: int, puts: int, prices: Prices = S3_STANDARD) -> Cost:
    """Return what it costs to write and keep something.

    Args:
        stored: bytes that are added to the store.
        puts: objects that are written, from 0.
        prices: by which list.
    """
    return Cost(stored / GB * prices.storage_gb_month, puts / 1000 * prices.put_1000)
