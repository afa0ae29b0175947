"""A dataset seen through some of its channels: what a study of sequences trains on.

Enters: an opened dataset and names of channels. Leaves: a view of it with these channels, which
preparation, training and prediction take for any other dataset. Copying the files of every
subset into a folder of its own was rejected: fifteen copies of one cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acinus.cohort.dataset import Dataset
from acinus.errors import DataError, unknown_name


def select_channels(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The dataset with some of its channels, in the dataset's order.

    A case that has none of them is not in the view; its files stay where they are.

    Args:
        dataset: Opened whole.
        names: As in ``dataset.json``, in any order; all of them give the dataset itself.

    Raises:
        DataError: A name is unknown or stands twice, the dataset has two channels of that
            name, or no case has any of the channels.
    """
    known = dataset.channel_names
    for name in names:
        if name not in known:
            raise DataError(f"{dataset.folder}: {unknown_name('channel', name, known)}")
        if known.count(name) > 1:
            raise DataError(
                f"{dataset.folder}: a channel can be chosen by a name that is its own; "
                f"{known.count(name)} are called '{name}'. Rename them in dataset.json."
            )
    if not names or len(set(names)) < len(names):
        raise DataError(
            f"{dataset.folder}: channels must name each wanted channel once; got "
            f"{', '.join(names) or 'none'}."
        )
    numbers = tuple(number for number, name in enumerate(known) if name in names)
    if len(numbers) == len(known):
        return dataset
    cases = tuple(
        replace(case, images=tuple(case.images[number] for number in numbers))
        for case in dataset.cases
        if any(case.images[number] is not None for number in numbers)
    )
    if not cases:
        raise DataError(
            f"{dataset.folder}: at least one case must have a channel of {', '.join(names)}; "
            "none has."
        )
    return replace(
        dataset,
        channel_names=tuple(known[number] for number in numbers),
        channel_numbers=numbers,
        cases=cases,
    )
