"""Channels that a case lacks: which they are, whether a model may predict without them, and words.

Enters: the channels of a model and what a case has of them. Leaves: names, sentences, or a refusal.
A missing channel is zero on the prepared grid, as training shows a channel that it takes away (see
`acinus.train.augment.channels`). Predicting without a channel by a model that always saw it was
rejected: the label map would look like any other, and nobody knows what it is worth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from acinus.errors import ConfigError, DataError, unknown_name
from acinus.plan import Plan

SHOWN_CASES = 5
"""Most cases that a line names; the table of predictions has all."""


def is_trained_for_missing(plan: Plan) -> bool:
    """Whether channels were taken away in training, so that any but the last may be missing."""
    return plan.settings.augment.channel_dropout > 0 and len(plan.dataset.channel_names) > 1


def missing_channels(names: Sequence[str], channels: Sequence[object | None]) -> tuple[str, ...]:
    """Names of the channels that are not there.

    Args:
        names: Of all channels of the model.
        channels: Of a case in the same order; None is missing.
    """
    return tuple(name for name, one in zip(names, channels, strict=True) if one is None)


def check_left_out(names: Sequence[str], without: Collection[str]) -> None:
    """Refuse to leave out what the model does not have, or all that it has.

    Args:
        names: Of all channels of the model.
        without: Channels that shall be left out of every case.

    Raises:
        ConfigError: A name is unknown, or no channel remains.
    """
    for name in without:
        if name not in names:
            raise ConfigError(unknown_name("channel", name, names))
    if set(names) <= set(without):
        raise ConfigError(
            f"--without must leave at least one of the channels ({', '.join(names)}) to predict "
            f"from; it names {'all' if len(names) > 1 else 'the only one'}. Leave one out of it."
        )


def refuse_missing(missing: Sequence[str], names: Sequence[str], may_lack: Collection[str]) -> None:
    """Refuse a case without channels that the model always had.

    Args:
        missing: Channels that the case lacks.
        names: All channels of the model.
        may_lack: Those that it learned to do without.

    Raises:
        DataError: All are missing, or one is that the model always had.
    """
    if len(missing) == len(names):
        raise DataError(
            f"at least one of the channels ({', '.join(names)}) must be there; none is. Give the "
            "file of one."
        )
    unlearned = [name for name in missing if name not in may_lack]
    if not unlearned:
        return
    one = len(unlearned) == 1
    learned = f"may lack {_named(sorted(may_lack))} alone" if may_lack else "have all of them"
    raise DataError(
        f"{'channel' if one else 'channels'} {_named(unlearned)} must be there and "
        f"{'is' if one else 'are'} missing: this model was trained for scans of {', '.join(names)} "
        f"that {learned}. Give {'its file' if one else 'their files'}, or train a model for scans "
        "that lack some with --set augment.channel_dropout=0.3."
    )


def missing_notes(missing: Sequence[str], left_out: Collection[str]) -> list[str]:
    """A warning for each channel that a case was predicted without.

    Args:
        missing: Channels that were not there.
        left_out: Those of them that were left out on purpose.
    """
    return [
        f"channel '{name}' was left out" if name in left_out else f"channel '{name}' is missing"
        for name in missing
    ]


def missing_words(missing: Mapping[str, Sequence[str]]) -> str:
    """``b (T2), c (T1, T2) and 4 more``: cases with the channels that they lack."""
    words = [f"{case} ({', '.join(some)})" for case, some in missing.items() if some]
    if len(words) > SHOWN_CASES:
        words = [*words[:SHOWN_CASES], f"{len(words) - SHOWN_CASES} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
