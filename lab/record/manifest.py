"""What must be known to believe or repeat a run: an allow-list of facts, never the environment, never a PIN."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

_PACKAGES: Final = ("pkcs11-context-lab", "python-pkcs11", "cryptography", "numpy", "scipy", "pyarrow", "pydantic")


def sha256(path: Path) -> str | None:
    """Hash of a file; None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def machine() -> dict[str, Any]:
    """The machine: kernel, CPU, memory, clock source. Missing facts are None."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total >> 20,
        "clock": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "system": _line("/etc/os-release", "PRETTY_NAME", "="),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part in a measurement."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> dict[str, Any]:
    """What changes during a run: load, steal, free memory."""
    times = psutil.cpu_times()
    return {
        "load_1min": os.getloadavg()[0],
        "steal_s": getattr(times, "steal", None),
        "memory_available_mib": psutil.virtual_memory().available >> 20,
        "processes": len(psutil.pids()),
    }


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _line(path: str, key: str, separator: str = ":") -> str | None:
    for line in (_text(path) or "").splitlines():
        name, _, value = line.partition(separator)
        if name.strip() == key:
            return value.strip().strip('"')
    return None
