"""With what a number was made: code, day, machine and versions."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lvis", "torch", "lightning", "diffusers", "av")


def facts() -> dict[str, str]:
    """Processor, cores, system and versions, in words."""
    import torch

    device = "none"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}"
    return {
        "processor": f"{processor()}, {cores()} cores, {torch.get_num_threads()} threads",
        "GPU": device,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }


@cache
def code_version() -> str:
    """The git commit that this package lies in, with "+" if files differ from it; else its version."""
    folder = Path(__file__).resolve().parent
    try:
        inside = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except OSError:
        inside = commit = changed = None
    # an installed copy inside somebody else's repository is not of that repository's commit
    if inside and commit:
        return commit + ("+" if changed else "")
    try:
        return version("lvis")
    except PackageNotFoundError:
        return "unknown"


def today() -> str:
    """The day, as in 2026-11-21, in UTC."""
    return datetime.now(UTC).date().isoformat()


@cache
def machine() -> str:
    """Processor, GPU and versions, in one line."""
    return "; ".join(f"{name} {value}" for name, value in facts().items())


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Those that this process may use."""
    # what this process may use, which a container can make fewer than there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
