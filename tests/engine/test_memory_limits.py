"""Limits of the system, real ones: known at the start, and kept without a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import environment
from tests.engine.memory_models import wide_linear

LIMITED = """if True:
    import resource, sys, numpy as np, ziggurat
    from ziggurat.errors import OutOfMemory
    from ziggurat.formats.onnx import read_onnx  # what takes addresses for good comes first
    warm = ziggurat.load(sys.argv[2], engine=ziggurat.Engine(threads=1)); warm.close()
    size = int(next(line for line in open('/proc/self/statm')).split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[3]), -1))
    engine = ziggurat.Engine(threads=1)
    try:
        model = ziggurat.load(sys.argv[1], engine=engine)
        x = np.ones((1, 4096), np.float32)
        print('ran', model.run({model.inputs[0].name: x})[model.outputs[0].name].shape)
    except OutOfMemory as error:
        print('refused', error)
    print('limit', engine.memory()['limit'])
"""


def limited(tmp_path: Path, room: int) -> str:
    path, small = tmp_path / "wide.onnx", tmp_path / "small.onnx"
    path.write_bytes(wide_linear(4096, 4096))
    small.write_bytes(wide_linear(8, 8))
    arguments = [sys.executable, "-c", LIMITED, str(path), str(small), str(room)]
    result = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_limit_of_the_address_space_is_known_and_kept(tmp_path: Path) -> None:
    refused = limited(tmp_path, 48 << 20)
    assert "refused" in refused and "weights need 64" in refused, refused
    assert int(refused.split()[-1]) < 48 << 20
    assert "ran (1, 4096)" in limited(tmp_path, 400 << 20)


@pytest.mark.parametrize("room", [12, 80, 120, 160])
def test_under_any_limit_of_the_address_space_a_load_runs_or_is_refused(tmp_path: Path, room: int) -> None:
    assert limited(tmp_path, room << 20).startswith(("ran", "refused"))


def make_group() -> Path:
    """A memory group of this test's own, of either version."""
    name = f"ziggurat-test-{os.getpid()}"
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        mount = {"": "/sys/fs/cgroup", "memory": "/sys/fs/cgroup/memory"}.get(controllers)
        if mount is None:
            continue
        group = Path(f"{mount}{path}") / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "memory.max").exists() or (group / "memory.limit_in_bytes").exists():
            return group
        group.rmdir()
    pytest.skip("no memory cgroup can be made here")


def test_a_limit_of_the_cgroup_is_known_and_kept(tmp_path: Path) -> None:
    group = make_group()
    try:
        limit = group / ("memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes")
        limit.write_text(str(96 << 20), encoding="utf-8")
        path = tmp_path / "wide.onnx"
        path.write_bytes(wide_linear(8192, 4096))
        code = f"""if True:
            import os
            open({str(group / "cgroup.procs")!r}, 'w').write(str(os.getpid()))
            import sys, ziggurat
            engine = ziggurat.Engine(threads=1)
            print(engine.memory()['limit'])
            try:
                ziggurat.load(sys.argv[1], engine=engine)
            except ziggurat.errors.OutOfMemory as error:
                print('refused', error)
        """
        arguments = [sys.executable, "-c", code, str(path)]
        result = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        assert int(lines[0]) == (96 << 20) // 10 * 9
        assert lines[1].startswith("refused") and "weights need 128" in lines[1]
    finally:
        group.rmdir()
