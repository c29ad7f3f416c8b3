"""Is a difference more than noise? Rounds are few, so nothing is assumed about how they scatter.

Mann-Whitney: were both runs alike, any order of their rounds would be equally likely. `p` is the share of orders that
part them at least as much as the one there is. Exact where there are few rounds, ties included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

# Of a hundred figures that did not change, one says it did.
CERTAIN = 0.01
# With fewer rounds on each side no difference can be that certain.
ROUNDS_NEEDED = 5
# Orders that are tried one by one.
MOST_ORDERS = 50_000


def ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of theirs."""
    order = sorted(values)
    first = {value: at for at, value in reversed(list(enumerate(order, 1)))}
    count = {value: order.count(value) for value in first}
    return [first[value] + (count[value] - 1) / 2 for value in values]


def mann_whitney(old: Sequence[float], new: Sequence[float]) -> float:
    """Two-sided p."""
    if not old or not new:
        return 1.0
    both = ranks([*old, *new])
    some, all_of_them = len(old), len(old) + len(new)
    middle = some * (all_of_them + 1) / 2
    off = abs(sum(both[:some]) - middle)
    orders = math.comb(all_of_them, some)
    if orders <= MOST_ORDERS:
        far = sum(abs(sum(chosen) - middle) >= off - 1e-9 for chosen in combinations(both, some))
        return far / orders
    ties = sum(count**3 - count for count in (both.count(rank) for rank in set(both)))
    variance = some * len(new) / 12 * (all_of_them + 1 - ties / (all_of_them * (all_of_them - 1)))
    if variance <= 0:
        return 1.0
    return 2 * (1 - NormalDist().cdf(max(0.0, off - 0.5) / math.sqrt(variance)))
