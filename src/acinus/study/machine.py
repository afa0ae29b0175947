"""What a run stood on: machine, versions, command.

Enters: nothing. Leaves: plain data for ``provenance.json``.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = (
    "acinus",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "statsmodels",
    "nibabel",
    "SimpleITK",
    "pydicom",
    "pydantic",
    "safetensors",
    "matplotlib",
)
"""Packages that can change a number."""


def describe_machine() -> str:
    """One line: system, processor, cores, memory."""
    memory_gb = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {_processor()}, "
        f"{os.cpu_count()} logical cores, {memory_gb:.0f} GiB memory, "
        f"Python {platform.python_version()}"
    )


def package_versions() -> dict[str, str]:
    """Installed version of every package that can change a number."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def command_line() -> str:
    """The command as a user would type it."""
    words = ["acinus" if Path(sys.argv[0]).stem in ("acinus", "__main__") else sys.argv[0]]
    words += [f"'{word}'" if " " in word else word for word in sys.argv[1:]]
    return " ".join(words)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
