"""CPU time and memory of processes, for the other benchmarks (Linux)."""

import os
import resource
from pathlib import Path


def cpu_seconds() -> tuple[float, float]:
    """CPU time of this process and of its finished children: other programs disturb it less than the clock."""
    own, of_children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, of_children.ru_utime + of_children.ru_stime


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
