"""How units are dealt out: a proportional draw for the hold-out, balanced folds.

Enters: units and a generator. Leaves: units by part. scikit-learn's splitters were
rejected: none balances several arms at once under both strata and groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acinus.cohort.pool import Unit


def draw_holdout(units: Sequence[Unit], wanted: int, rng: np.random.Generator) -> list[Unit]:
    """Random units with the wanted number of participants, each stratum by its share.

    Args:
        units: Those that may be held out.
        wanted: Number of participants.
        rng: Source of chance.

    Returns:
        Units whose sizes add up to `wanted`, or to the nearest number that groups allow.
    """
    ordered = _proportional_order(units, rng)
    # reachable[i]: bit s is set if units i, i+1, … can add up to s participants.
    reachable = [1] * (len(ordered) + 1)
    for index in range(len(ordered) - 1, -1, -1):
        after = reachable[index + 1]
        reachable[index] = after | (after << ordered[index].size)
    sums = [s for s in range(reachable[0].bit_length()) if reachable[0] >> s & 1]
    left = min(sums, key=lambda s: (abs(s - wanted), s))
    held = []
    for index, unit in enumerate(ordered):
        fits = unit.size <= left and reachable[index + 1] >> (left - unit.size) & 1
        if fits and left > 0:
            held.append(unit)
            left -= unit.size
    return held


def spread_over_folds(
    units: Sequence[Unit], arms: Sequence[str], folds: int, rng: np.random.Generator
) -> list[list[Unit]]:
    """Units in folds of nearly equal size in every arm, each stratum spread evenly.

    Large units go first; each goes to the fold that is emptiest in its arms, among
    equals to the one with the fewest of its stratum, among equals to a random one.
    Without groups and with up to two arms the folds of an arm differ by one at most.

    Args:
        units: What to spread.
        arms: Names of the arms.
        folds: Number of folds.
        rng: Source of chance.
    """
    shuffled = [units[index] for index in rng.permutation(len(units))]
    weights = {unit: np.array([unit.count(arm) for arm in arms]) for unit in shuffled}
    shuffled.sort(key=lambda unit: (-weights[unit].sum(), tuple(-weights[unit]), unit.stratum))
    filled = np.zeros((folds, len(arms)), dtype=np.int64)
    of_stratum: dict[str, np.ndarray] = {}
    dealt: list[list[Unit]] = [[] for _ in range(folds)]
    for unit in shuffled:
        stratum = of_stratum.setdefault(unit.stratum, np.zeros(folds, dtype=np.int64))
        # Growth of the sum of squared fold sizes, over all arms.
        growth = 2 * filled @ weights[unit]
        # lexsort: the last key counts first.
        target = int(np.lexsort((rng.permutation(folds), stratum, growth))[0])
        dealt[target].append(unit)
        filled[target] += weights[unit]
        stratum[target] += unit.size
    return dealt


def _proportional_order(units: Sequence[Unit], rng: np.random.Generator) -> list[Unit]:
    """Units in random order, such that every beginning holds each stratum by its share."""
    strata: dict[str, list[Unit]] = {}
    for index in rng.permutation(len(units)):
        strata.setdefault(units[index].stratum, []).append(units[index])
    placed = []
    for _, members in sorted(strata.items()):
        offset = rng.random()
        placed += [((rank + offset) / len(members), unit) for rank, unit in enumerate(members)]
    return [unit for _, unit in sorted(placed, key=lambda pair: (pair[0], pair[1].name))]
