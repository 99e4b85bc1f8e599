"""The same request gives the same bits in another process, with another number of threads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.language import make_generator, prompt_of, run, write_checkpoint

ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
from pathlib import Path
from tests.engine.test_processes import answers
print(json.dumps(answers(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))))
"""


def answers(folder: Path, threads: int, options: dict[str, Any]) -> list[Any]:
    """Tokens, and the bits of log probabilities, of greedy and of drawn answers."""
    generator = make_generator(folder, threads=threads, **options)
    requests = [
        (prompt_of(30 + 45 * i, i), {"max_tokens": 24, "temperature": i / 2, "seed": i, "logprobs": 3})
        for i in range(4)
    ]
    return [[one.tokens, one.bits, one.finish] for one in run(generator, requests)]


@pytest.mark.parametrize(
    "options", [{}, {"weights": "int8", "kv_dtype": "int8"}, {"weights": "int4", "step_tokens": 33}], ids=str
)
def test_two_processes_give_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = write_checkpoint(tmp_path)
    here = answers(folder, 2, options)
    for threads in ("1", "3"):
        command = [sys.executable, "-c", ASK, str(folder), threads, json.dumps(options)]
        other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert other.returncode == 0, other.stderr
        assert json.loads(other.stdout) == here
    assert all(tokens for tokens, _, _ in here)
