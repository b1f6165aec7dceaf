"""The machine this process runs on, in words. Knows nothing of what runs."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

CPU_WORDS = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """Describe the machine, by names that stay."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "vireid": version("vireid"),
    }


def _cpu() -> str:
    if CPU_WORDS.is_file():
        for line in CPU_WORDS.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
