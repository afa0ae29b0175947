"""Who trains, who validates, who is kept for the final test.

Enters: the datasets of a study's arms, and conditions. Leaves: a `Split` by
participant that holds for all arms at once. Splitting cases or slices was
rejected: images of one person on both sides of a split make every score too good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acinus.cohort.assign import draw_holdout, spread_over_folds
from acinus.cohort.dataset import Case, Dataset
from acinus.cohort.participants import cluster_name
from acinus.cohort.pool import Unit, external_units, external_units_by_arm, pool_units
from acinus.errors import DataError
from acinus.files import read_json, write_json

FORMAT = "acinus-split"
FORMAT_VERSION = 1

Part = Literal["holdout", "train", "validation"]


@dataclass(frozen=True)
class Split:
    """Participants by part, valid for every arm.

    Attributes:
        holdout: Participants kept for the final test, sorted.
        folds: Participants that each fold validates on, sorted; the others train it.
        seed: What it was drawn with.
        by: ``"participant"``, or the column whose values stay together.
        conditions: What was asked: ``holdout``, ``folds``, ``holdout_needs``,
            ``stratify_by``, ``group_by``.
        groups: Participant to its value of the column `by`, if that is not ``"participant"``.
        arms: Arm to ``{"holdout": [case, …], "folds": [[case, …], …]}``, for the reader
            of the file and to notice a dataset that changed.
    """

    holdout: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    seed: int
    by: str = "participant"
    conditions: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)

    def cluster_of(self, participant: str) -> str:
        """What counts as one independent observation with a participant's values.

        The participant, or where members of a group stay together the group, as
        ``"source=P07"``: copies of one anatomy are no further evidence.
        """
        group = self.groups.get(participant)
        return participant if group is None else cluster_name(self.by, group)

    def cases(self, dataset: Dataset, part: Part, *, fold: int | None = None) -> tuple[Case, ...]:
        """The labelled cases of one part of a dataset.

        Args:
            dataset: One arm.
            part: ``"holdout"``; ``"train"`` of a fold, or of all folds together;
                ``"validation"`` of a fold.
            fold: From 0; not for the hold-out.

        Raises:
            DataError: There is no such fold, or a participant is not in the split.
        """
        wanted = set(self.participants(part, fold=fold))
        _require_known(self, dataset, str(dataset.folder))
        return tuple(case for case in dataset.labelled_cases if case.participant_id in wanted)

    def participants(self, part: Part, *, fold: int | None = None) -> tuple[str, ...]:
        """The participants of one part, sorted; arguments as for `cases`."""
        if part == "holdout":
            return self.holdout
        if fold is None:
            if part == "validation":
                raise DataError("validation cases belong to a fold; say which.")
            return tuple(sorted(p for members in self.folds for p in members))
        if not 0 <= fold < len(self.folds):
            raise DataError(
                f"the fold must be one of 0 to {len(self.folds) - 1} of this split; got {fold}."
            )
        if part == "validation":
            return self.folds[fold]
        others = (m for number, m in enumerate(self.folds) if number != fold)
        return tuple(sorted(p for members in others for p in members))


def make_split(
    datasets: Mapping[str, Dataset],
    *,
    holdout: int | float,
    folds: int,
    seed: int,
    holdout_needs: Literal["all_arms", "any"] = "all_arms",
    stratify_by: str | None = None,
    group_by: str | None = None,
    external: Mapping[str, Sequence[str | int | float]] | None = None,
    external_by_arm: Mapping[str, Mapping[str, Sequence[str | int | float]]] | None = None,
) -> Split:
    """A split by participant that holds for all arms.

    Participants are pooled over the arms; only labelled cases count. The hold-out
    is drawn first, unless it is stated who is external; then the rest is spread so
    that in every arm the folds differ in size as little as possible. The result
    depends on the participants and the seed, not on the order of arms or files; the
    global random state is untouched.

    Args:
        datasets: Arm to dataset.
        holdout: Number of participants, or share of all of them (0 to below 1).
        folds: At least 2.
        seed: Of NumPy's generator, >= 0.
        holdout_needs: ``"all_arms"``: hold-out participants have a case in every arm.
        stratify_by: Column of ``participants.tsv`` whose distribution hold-out and
            folds follow; numbers are cut at their quartiles, missing values are a
            stratum of their own.
        group_by: Column whose values stay on one side, e.g. ``site`` or ``family``.
        external: Column of ``participants.tsv`` to the values whose participants are the
            hold-out, all of them and nobody else, such as ``{"site": ["B", "C"]}``;
            `holdout` and `holdout_needs` then say nothing. None: the hold-out is drawn.
        external_by_arm: The same for single arms, whose datasets have other centres. Who is
            external in one arm is kept for the test in all. Instead of `external`.

    Raises:
        DataError: Too few participants for the request, an unknown column, or a
            participant without group.
    """
    _require_request(datasets, holdout, folds, seed)
    units = pool_units(datasets, stratify_by=stratify_by, group_by=group_by)
    rng = np.random.default_rng(seed)
    if external_by_arm:
        held = external_units_by_arm(units, datasets, external_by_arm)
    elif external:
        held = external_units(units, datasets, external)
    else:
        held = _draw(units, datasets, holdout, holdout_needs, rng)
        if holdout and not held:
            smallest = min(unit.size for unit in units)
            raise DataError(
                f"the hold-out must not be empty, but groups stay together, the smallest has "
                f"{smallest} of {sum(unit.size for unit in units)} participants, and none of them "
                f"is nearer to {holdout:g}. Ask for {smallest}, or hold out none."
            )
    rest = [unit for unit in units if unit not in held]
    _require_enough(rest, sorted(datasets), folds, group_by)
    members = spread_over_folds(rest, sorted(datasets), folds, rng)
    _require_no_empty_fold(members, sorted(datasets))
    split = Split(
        holdout=_names(held),
        folds=tuple(_names(fold) for fold in members),
        seed=seed,
        by=group_by or "participant",
        groups=_group_of_each(units, group_by),
        conditions={
            "holdout": holdout,
            "folds": folds,
            "holdout_needs": holdout_needs,
            "stratify_by": stratify_by,
            "group_by": group_by,
            **({"external": _lists(external)} if external and not external_by_arm else {}),
            **(
                {"external_by_arm": {arm: _lists(one) for arm, one in external_by_arm.items()}}
                if external_by_arm
                else {}
            ),
        },
    )
    return Split(**{**vars(split), "arms": _arms(split, datasets)})


def make_shares_split(
    arm: str,
    dataset: Dataset,
    *,
    validation: float,
    test: float,
    seed: int,
    stratify_by: str | None = None,
    group_by: str | None = None,
) -> Split:
    """A split of one dataset by shares: test, validation, and the rest to train on.

    Args:
        arm: Name of the arm.
        dataset: Its dataset.
        validation: Share of the participants that fold 0 validates on, at least one of them.
        test: Share of the participants kept for the test, at least one.
        seed: Of NumPy's generator, >= 0.
        stratify_by: As for `make_split`, where the dataset has the column.
        group_by: As for `make_split`; the shares are then the nearest that groups allow.

    Returns:
        The test is the hold-out. Of the two folds the first validates on the validation cases
        and is the one to train; the second holds the others.

    Raises:
        DataError: Too few participants for the request.
    """
    datasets = {arm: dataset}
    _require_request(datasets, test, 2, seed)
    units = pool_units(datasets, stratify_by=stratify_by, group_by=group_by)
    everyone = sum(unit.size for unit in units)
    rng = np.random.default_rng(seed)
    held = _draw(units, datasets, test, "any", rng)
    rest = [unit for unit in units if unit not in held]
    wanted = max(1, round(validation * everyone))
    looked_at = draw_holdout(rest, wanted, rng)
    learned = [unit for unit in rest if unit not in looked_at]
    if not (held and looked_at and learned):
        groups = f", and those of one '{group_by}' stay together" if group_by else ""
        raise DataError(
            f"arm '{arm}': the split must leave participants to train on; of {everyone} "
            f"{sum(unit.size for unit in held)} are for the test and {wanted} for "
            f"validation{groups}. Add cases."
        )
    split = Split(
        holdout=_names(held),
        folds=(_names(looked_at), _names(learned)),
        seed=seed,
        by=group_by or "participant",
        groups=_group_of_each(units, group_by),
        conditions={
            "holdout": test,
            "validation": validation,
            "stratify_by": stratify_by,
            "group_by": group_by,
        },
    )
    return Split(**{**vars(split), "arms": _arms(split, datasets)})


def write_split(split: Split, path: Path | str) -> None:
    """Write a split as JSON, with its format version and the cases of every arm."""
    write_json(
        path,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "by": split.by,
            "seed": split.seed,
            "conditions": split.conditions,
            **({"groups": split.groups} if split.groups else {}),
            "holdout": list(split.holdout),
            "folds": [list(members) for members in split.folds],
            "arms": split.arms,
        },
    )


def read_split(path: Path | str) -> Split:
    """A split from its file.

    Raises:
        DataError: The file is missing, is not a split, or a participant is in two parts.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DataError(f"{path}: must be a split written by Acinus ('format': '{FORMAT}').")
    if data.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: 'format_version' must be {FORMAT_VERSION}; got "
            f"{data.get('format_version')!r}. Make the split again with this version."
        )
    for key, kind in (("holdout", list), ("folds", list), ("seed", int), ("by", str)):
        if not isinstance(data.get(key), kind):
            raise DataError(f"{path}: '{key}' must be a {kind.__name__}; got {data.get(key)!r}.")
    if not all(_is_names(members) for members in (data["holdout"], *data["folds"])):
        raise DataError(f"{path}: 'holdout' and each of 'folds' must list participants by id.")
    split = Split(
        holdout=tuple(data["holdout"]),
        folds=tuple(tuple(members) for members in data["folds"]),
        seed=data["seed"],
        by=data["by"],
        conditions=dict(data.get("conditions") or {}),
        groups=dict(data.get("groups") or {}),
        arms=dict(data.get("arms") or {}),
    )
    _require_no_leak(split, str(path))
    return split


def check_split(split: Split, datasets: Mapping[str, Dataset]) -> None:
    """Nothing, if a split fits the datasets.

    Raises:
        DataError: A participant is in two parts; a labelled case belongs to nobody in
            the split; a participant of the split has no case; or the members of a
            group are apart.
    """
    _require_no_leak(split, "the split")
    for arm in sorted(datasets):
        _require_known(split, datasets[arm], f"arm '{arm}'")
    here = {c.participant_id for data in datasets.values() for c in data.labelled_cases}
    gone = sorted(set(_everyone(split)) - here)
    if gone:
        raise DataError(
            f"the split must name only participants with a labelled case; '{gone[0]}' has none "
            f"in {', '.join(sorted(datasets))}. Restore the files or make the split again."
        )
    if split.by != "participant":
        _require_groups_together(split, datasets)


def _draw(
    units: Sequence[Unit],
    datasets: Mapping[str, Dataset],
    holdout: int | float,
    holdout_needs: str,
    rng: np.random.Generator,
) -> list[Unit]:
    everyone = sum(unit.size for unit in units)
    is_share = isinstance(holdout, float)
    wanted = round(holdout * everyone) if is_share else int(holdout)
    if is_share and holdout > 0:
        wanted = max(wanted, 1)
    needs_all = holdout_needs == "all_arms"
    eligible = [unit for unit in units if not needs_all or unit.is_in_all(datasets)]
    available = sum(unit.size for unit in eligible)
    if wanted > available or wanted >= everyone:
        condition = " with a labelled case in every arm" if needs_all else ""
        raise DataError(
            f"the hold-out must leave participants to train on: {wanted} wanted, {available} "
            f"available{condition}, of {everyone} in all. Ask for fewer, or add cases."
        )
    held = draw_holdout(eligible, wanted, rng)
    got = sum(unit.size for unit in held)
    if got != wanted and not is_share:
        raise DataError(
            f"the hold-out must have {wanted} participants, but groups stay together and their "
            f"sizes allow {got} as the nearest number. Ask for {got}."
        )
    return held


def _require_request(
    datasets: Mapping[str, Dataset], holdout: int | float, folds: int, seed: int
) -> None:
    if not datasets:
        raise DataError("a split needs at least one dataset; got none.")
    if isinstance(holdout, bool) or holdout < 0 or (isinstance(holdout, float) and holdout >= 1):
        raise DataError(
            f"the hold-out must be a number of participants or a share below 1; got {holdout}."
        )
    if folds < 2:
        raise DataError(f"a split must have at least 2 folds; got {folds}.")
    people = {case.participant_id for data in datasets.values() for case in data.labelled_cases}
    if len(people) == 1:
        raise DataError(
            "a model must be judged on participants that it has not learned from, so that at "
            f"least 2 must have a labelled case; there is 1 ({people.pop()}). Label a second one."
        )
    if seed < 0:
        raise DataError(f"the seed must be 0 or more; got {seed}.")


def _require_enough(
    rest: Sequence[Unit], arms: Sequence[str], folds: int, group_by: str | None
) -> None:
    for arm in arms:
        left = sum(1 for unit in rest if unit.count(arm))
        if left < folds:
            unit_name = f"values of '{group_by}'" if group_by else "participants"
            raise DataError(
                f"arm '{arm}' must have at least one of the {unit_name} in each of {folds} folds; "
                f"{left} are left after the hold-out. Use fewer folds (folds), a smaller "
                "hold-out (holdout) or more cases: with few, --holdout 0 --set folds=2."
            )


def _require_no_empty_fold(members: Sequence[Sequence[Unit]], arms: Sequence[str]) -> None:
    for arm in arms:
        for number, fold in enumerate(members):
            if not any(unit.count(arm) for unit in fold):
                raise DataError(
                    f"arm '{arm}' must have a participant in every fold; fold {number} got none. "
                    "Use fewer folds or another seed."
                )


def _require_no_leak(split: Split, where: str) -> None:
    parts: dict[str, str] = {}
    named = [("the hold-out", split.holdout)]
    named += [(f"fold {number}", members) for number, members in enumerate(split.folds)]
    for part, members in named:
        for participant in members:
            if participant in parts:
                raise DataError(
                    f"{where}: a participant must be in one part only; '{participant}' is in "
                    f"{parts[participant]} and in {part}. Make the split again."
                )
            parts[participant] = part


def _require_known(split: Split, dataset: Dataset, where: str) -> None:
    known = set(_everyone(split))
    for case in dataset.labelled_cases:
        if case.participant_id not in known:
            raise DataError(
                f"{where}: every participant must be in the split; '{case.participant_id}' "
                f"(case '{case.case_id}') is not. Make the split again, or exclude the case."
            )


def _require_groups_together(split: Split, datasets: Mapping[str, Dataset]) -> None:
    place = dict.fromkeys(split.holdout, "the hold-out")
    for number, members in enumerate(split.folds):
        place |= dict.fromkeys(members, f"fold {number}")
    for unit in pool_units(datasets, stratify_by=None, group_by=split.by):
        first = unit.participants[0]
        for other in unit.participants[1:]:
            if place[other] != place[first]:
                raise DataError(
                    f"the members of {split.by} '{unit.name}' must be in one part; '{first}' is "
                    f"in {place[first]} and '{other}' in {place[other]}. Make the split again."
                )


def _everyone(split: Split) -> list[str]:
    return [*split.holdout, *(p for members in split.folds for p in members)]


def _arms(split: Split, datasets: Mapping[str, Dataset]) -> dict[str, dict[str, Any]]:
    def ids(dataset: Dataset, part: Part, fold: int | None = None) -> list[str]:
        return [case.case_id for case in split.cases(dataset, part, fold=fold)]

    return {
        arm: {
            "dataset": datasets[arm].name,
            "holdout": ids(datasets[arm], "holdout"),
            "folds": [ids(datasets[arm], "validation", k) for k in range(len(split.folds))],
        }
        for arm in sorted(datasets)
    }


def _group_of_each(units: Sequence[Unit], group_by: str | None) -> dict[str, str]:
    """Participant to group; nothing where participants are not grouped."""
    if group_by is None:
        return {}
    return {person: unit.name for unit in units for person in unit.participants}


def _lists(external: Mapping[str, Sequence[str | int | float]]) -> dict[str, Any]:
    return {column: list(values) for column, values in external.items()}


def _names(units: Sequence[Unit]) -> tuple[str, ...]:
    return tuple(sorted(name for unit in units for name in unit.participants))


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
