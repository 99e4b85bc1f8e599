"""zig.Linear against the machine's limits: python -m benchmarks.linear [--threads N] [--formats Q4_0,float16] [--json]

For each weight format and number of tokens: milliseconds, the GB/s at which the weights are read and the GOP/s at which
they are multiplied, each with its share of what `benchmarks.limits` measures just before. A step of twelve matrices of
the ffn of a 1.1B Llama is timed, more than any cache holds, so that a small number of tokens reads memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from benchmarks.limits.__main__ import build
from ziggurat import _native as native

ROWS, COLUMNS, MATRICES = 5632, 2048, 12
TOKENS = (1, 2, 4, 8, 16, 64, 256)
FLOAT32 = 1
HALVES = {"float16": 10, "bfloat16": 16}
FORMATS = ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0")


def limits(threads: int) -> dict[str, float]:
    """Bytes and operations a second: memory reads, float32 and int8 products of all threads."""
    command = [str(build()), "--json", "--threads", str(threads), "--seconds", "0.1"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]

    def best(words: str) -> float:
        return 1e9 * max(row["value"] for row in rows if row["what"].startswith(words))

    return {"read": best("memory read"), "float32": best("float32 multiply-add"), "int8": best("int8 dot products")}


def step(threads: int, name: str) -> tuple[Any, int]:
    """A model of twelve products of one input, and the bytes of its weights."""
    builder = native.GraphBuilder("linear")
    x = builder.input("x", FLOAT32, ["tokens", COLUMNS])
    rng = np.random.default_rng(0)
    total = 0
    for i in range(MATRICES):
        if name in HALVES:
            data = rng.integers(0x3000, 0x3400, (ROWS, COLUMNS), dtype=np.uint16).tobytes()
            weight = builder.constant(f"w{i}", HALVES[name], [ROWS, COLUMNS], data)
        else:
            kind = GGMLQuantizationType[name]
            block, size = GGML_QUANT_SIZES[kind]
            data = rng.integers(0, 0x30, ROWS * COLUMNS // block * size, dtype=np.uint8).tobytes()
            weight = builder.encoded_constant(f"w{i}", [ROWS, COLUMNS], int(kind), data)
        total += len(data)
        builder.output(builder.node("zig", "Linear", "", [x, weight], [f"y{i}"], {})[0], f"y{i}")
    return native.Model(native.Engine(threads, 0, None), builder.finish(), "auto", 0, True, [], False), total


def seconds(model: Any, tokens: int) -> float:
    """The median of the faster half of at least nine runs."""
    x = np.random.default_rng(1).standard_normal((tokens, COLUMNS), dtype=np.float32)
    times, end = [], time.perf_counter() + 1
    while len(times) < 9 or time.perf_counter() < end:
        begin = time.perf_counter()
        model.run([x], [], None, None)
        times.append(time.perf_counter() - begin)
    return statistics.median(sorted(times)[: len(times) // 2 + 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--formats", default=",".join([*FORMATS, *HALVES]))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    limit = limits(arguments.threads)
    rows = []
    for name in arguments.formats.split(","):
        model, weights = step(arguments.threads, name)
        peak = limit["float32" if name in HALVES else "int8"]
        for tokens in TOKENS:
            took = seconds(model, tokens)
            read, work = weights / took, 2 * MATRICES * ROWS * COLUMNS * tokens / took
            rows.append({"format": name, "tokens": tokens, "ms": took * 1e3, "read": read, "work": work})
            if not arguments.json:
                print(
                    f"{name:9s} {tokens:4d} tokens {took * 1e3:9.3f} ms  {read * 1e-9:6.1f} GB/s "
                    f"{100 * read / limit['read']:5.1f} %  {work * 1e-9:7.1f} GOP/s {100 * work / peak:5.1f} %"
                )
    if arguments.json:
        print(json.dumps({"limits": limit, "rows": rows}))


if __name__ == "__main__":
    main()
