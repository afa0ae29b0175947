"""Write the exact versions that pip resolves for this project.

Enters: ``pyproject.toml`` and whatever package index pip is set up with.
Leaves: ``requirements.lock`` (to use Acinus) and ``requirements-dev.lock`` (to
work on it; a superset with the same versions).

Hashes, hosts and local version labels are left out on purpose: ``torch`` has
one build for each kind of machine under one version, and the lock must fit all
of them. The libraries of NVIDIA that one of these builds brings along are left
out too: pip adds them where that build is the one that is found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ACCELERATOR_PREFIXES = ("nvidia-", "cuda-", "triton")
"""Begin of the names that belong to one build of torch only."""

HEADER = """\
# Exact versions {what}.
# Written by `make lock` from pyproject.toml; not edited by hand.
# Markers and platform parts that a machine needs beyond this are added by pip.
"""


def resolve(requirement: str, constraints: list[str]) -> dict[str, str]:
    """Names and versions that pip would install for a requirement.

    Args:
        requirement: What pip is asked for, e.g. ``".[dev]"``.
        constraints: ``name==version`` lines that the answer must respect.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        constraint_file = Path(folder, "constraints.txt")
        constraint_file.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report)]
        command += ["--constraint", str(constraint_file), requirement]
        subprocess.run(command, cwd=ROOT, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in found
    }
    return {
        name: version.split("+")[0]
        for name, version in sorted(versions.items())
        if name != "acinus" and not name.startswith(ACCELERATOR_PREFIXES)
    }


def write(path: Path, what: str, versions: dict[str, str]) -> None:
    """Write a lock file of ``name==version`` lines, sorted by name."""
    lines = [f"{name}=={version}" for name, version in versions.items()]
    path.write_text(HEADER.format(what=what) + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines)} packages")


def main() -> None:
    """Write both locks beside ``pyproject.toml``, or into another folder."""
    parser = argparse.ArgumentParser(description="Write the locked dependencies.")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder of the lock files")
    out = parser.parse_args().out
    runtime = resolve(".", [])
    pins = [f"{name}=={version}" for name, version in runtime.items()]
    write(out / "requirements.lock", "to use Acinus", runtime)
    write(out / "requirements-dev.lock", "to work on Acinus", resolve(".[dev]", pins))


if __name__ == "__main__":
    main()
