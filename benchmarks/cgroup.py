"""A cgroup of our own with a CPU quota, version 2 or 1: needs root and a cpu controller that may be handed on."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds


class Group:
    """Raises OSError saying what is missing. `cpus` None: no quota."""

    def __init__(self, name: str, cpus: float | None) -> None:
        self._v2 = (ROOT / "cgroup.controllers").exists()
        if self._v2:
            if "cpu" not in (ROOT / "cgroup.controllers").read_text().split():
                raise OSError(f"{ROOT} has no cpu controller")
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        parent = ROOT if self._v2 else ROOT / "cpu"
        if not parent.is_dir():
            raise OSError(f"there is no {parent}")
        self.path = parent / f"ziggurat-benchmark-{os.getpid()}-{name}"
        self.path.mkdir()
        # All the weight there is: what else runs on the machine disturbs less.
        self._write("cpu.weight" if self._v2 else "cpu.shares", 10_000 if self._v2 else 262_144)
        if cpus is not None and self._v2:
            self._write("cpu.max", f"{int(cpus * PERIOD)} {PERIOD}")
        elif cpus is not None:
            self._write("cpu.cfs_quota_us", int(cpus * PERIOD))

    def join(self) -> None:
        """Moves the calling process into the group. Quotas are for processes of ordinary priority alone."""
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        self._write("cgroup.procs", os.getpid())

    def throttled(self) -> int:
        """Periods in which the group had used up its quota."""
        lines = (self.path / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["nr_throttled"])

    def close(self) -> None:
        self.path.rmdir()

    def _write(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))
