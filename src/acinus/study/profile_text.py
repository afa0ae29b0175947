"""A profile as text for a person to read.

Enters: a `Profile`. Leaves: lines with a unit behind every number.
"""

from __future__ import annotations

from acinus import progress
from acinus.study.profile import Profile

GIGA, MIB = 1e9, 2**20


def profile_text(profile: Profile) -> str:
    """A profile for a person to read, every number with its unit.

    Args:
        profile: From `profile_network`.
    """
    one, took = profile.operations, profile.seconds
    batch, n_channels, *size = profile.input_shape
    lines = [
        f"{profile.target}: {profile.network}, {n_channels} "
        f"{progress.plural('channel', n_channels)}, {profile.n_classes} "
        f"{progress.plural('class', profile.n_classes)}, {batch} × {'×'.join(map(str, size))} "
        "voxels",
        "",
        f"{'part':<12}{'parameters':>14}{'multiply-adds':>18}",
    ]
    for part in dict.fromkeys((*profile.parameters, *one.parts)):
        lines.append(
            f"{part:<12}{profile.parameters.get(part, 0):>14,}{_giga(one.parts.get(part, 0)):>18}"
        )
    lines += [
        f"{'whole':<12}{profile.n_parameters:>14,}{_giga(one.multiply_adds):>18}",
        "",
        f"FLOPs:          {_giga(one.flops)} (2 × multiply-adds, {_giga(one.norm_flops)} of "
        f"normalisations, {_giga(one.other_flops)} of other element-wise operations)",
        f"As in Table 5:  {_giga(one.as_in_table_5)} (multiply-adds and normalisations, which "
        "the paper of PanSegNet calls Gflops)",
    ]
    if profile.all_heads is not None:
        lines.append(
            f"With all heads: {_giga(profile.all_heads.multiply_adds)} multiply-adds, "
            f"{_giga(profile.all_heads.as_in_table_5)} as in Table 5; training alone needs the "
            "coarse ones"
        )
    lines += [
        f"Memory:         {profile.weights_bytes / MIB:.1f} MiB of weights, "
        f"{one.peak_bytes / MIB:.1f} MiB of tensors at the peak of a pass (float32, by count)"
        + (
            ""
            if profile.gpu_peak_bytes is None
            else f"; {profile.gpu_peak_bytes / MIB:.1f} MiB allocated on the GPU (measured)"
        ),
        f"Time:           median {took.median:.4g} s, mean {took.mean:.4g}"
        + ("" if took.sd is None else f" ± {took.sd:.2g}")
        + f" s (sd), {took.smallest:.4g}-{took.largest:.4g} s; {took.n_runs} runs after "
        f"{took.n_warm_up} of warm-up",
        f"On:             {profile.device}, {profile.threads} "
        f"{progress.plural('thread', profile.threads)}, {profile.precision}",
        f"Machine:        {profile.machine}",
        f"Versions:       acinus {profile.versions['acinus']}, torch {profile.versions['torch']}",
    ]
    if profile.n_networks > 1:
        lines.append(
            f"This model has {profile.n_networks} networks, one a fold: a prediction runs all of "
            "them, and takes their time together."
        )
    return "\n".join(lines) + "\n"


def _giga(number: int) -> str:
    return f"{number / GIGA:.4f} G"
