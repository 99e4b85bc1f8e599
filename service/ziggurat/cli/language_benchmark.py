"""`ziggurat bench` of a language model: prefill and decode rates, time to first token, time between tokens."""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

import ziggurat
from ziggurat.errors import InvalidArgument
from ziggurat.serving.generation.driver import Driver, Failure
from ziggurat.settings import LoggingSettings
from ziggurat.telemetry.logs import make_logger

if TYPE_CHECKING:
    from ziggurat.engine import TokenEvent
    from ziggurat.language import LanguageModel

PATIENCE = 600.0  # seconds without a token after which something is broken


@dataclass(frozen=True)
class Load:
    """So many prompts of `prompt` random tokens at once, each continued by `new` tokens; so many rounds of that."""

    prompt: int
    new: int
    concurrency: tuple[int, ...]
    rounds: int


@dataclass
class Times:
    """Seconds of one round, from the moment its requests were handed in."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    last_first: float = 0.0
    end: float = 0.0
    after_first: int = 0  # tokens that came when every prompt had been read


def parse_concurrency(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) <= 4096 for part in parts):
        raise InvalidArgument(f"--concurrency takes numbers, as 1,8: got '{text}'")
    return tuple(int(part) for part in parts)


def is_language_model(path: Path) -> bool:
    return path.suffix.lower() == ".gguf" or (path / "config.json").is_file()


def run(path: Path, load: Load, threads: int | None, isa: str | None, options: dict[str, Any], as_json: bool) -> None:
    engine = ziggurat.Engine(threads=threads, isa=isa)
    begin = time.perf_counter()
    language = ziggurat.load_llm(path, engine=engine, **options)
    report: dict[str, Any] = {"model": str(path), "isa": engine.isa, "threads": engine.threads}
    report["load_seconds"] = round(time.perf_counter() - begin, 3)
    spec = language.spec
    if load.prompt + load.new > spec.context:
        raise InvalidArgument(
            f"--prompt {load.prompt} and --new {load.new} are more than the context of {spec.context}"
        )
    report |= {"parameters": spec.parameters, "weights": spec.weights, "prompt": load.prompt, "new": load.new}
    bench = Bench(language)
    try:
        bench.round(1, load.prompt, load.new)  # warm: pages, caches, clocks
        report["results"] = [bench.measure(width, load) for width in load.concurrency]
        report["memory"] = engine.memory()
    finally:
        bench.close()
        language.close()
        engine.close()
    typer.echo(json.dumps(report, indent=1) if as_json else _table(report))


class Bench:
    def __init__(self, language: LanguageModel) -> None:
        self._vocab = language.spec.vocab
        self._numbers = np.random.default_rng(0)
        self._told: queue.SimpleQueue[tuple[float, Sequence[TokenEvent | Failure]]] = queue.SimpleQueue()
        logger = make_logger(LoggingSettings(), sys.stderr)
        self._driver = Driver(
            "bench", language.generator, lambda events: self._told.put((time.perf_counter(), events)), logger
        )

    def close(self) -> None:
        self._driver.close()

    def measure(self, width: int, load: Load) -> dict[str, Any]:
        """One width, all rounds."""
        rounds = [self.round(width, load.prompt, load.new) for _ in range(load.rounds)]
        prefill = [width * load.prompt / one.last_first for one in rounds]
        decode = [one.after_first / (one.end - one.last_first) for one in rounds if one.after_first]
        return {
            "concurrency": width,
            "prefill_tokens_per_second": round(float(np.median(prefill)), 1),
            "decode_tokens_per_second": round(float(np.median(decode)), 1) if decode else None,
            "time_to_first_token_ms": _percentiles([value for one in rounds for value in one.first]),
            "inter_token_latency_ms": _percentiles([value for one in rounds for value in one.between]),
        }

    def round(self, width: int, prompt: int, new: int) -> Times:
        """Prompts are never the same, so that none is found in the prefix cache."""
        prompts = self._numbers.integers(0, self._vocab, (width, prompt)).tolist()
        options = {"max_tokens": new, "temperature": 0.0, "ignore_eos": True}
        begin = time.perf_counter()
        left = {self._driver.add(one, options) for one in prompts}
        times, seen = Times(), dict.fromkeys(left, 0.0)
        while left:
            at, events = self._told.get(timeout=PATIENCE)
            for event in events:
                if isinstance(event, Failure):
                    raise event.error
                if event.request in seen:
                    self._note(times, seen, event.request, at - begin)
                    if event.finish is not None:
                        left.discard(event.request)
        return times

    def _note(self, times: Times, seen: dict[int, float], request: int, at: float) -> None:
        if not seen[request]:
            times.first.append(at)
            times.last_first = max(times.last_first, at)
            times.after_first = 0
        else:
            times.between.append(at - seen[request])
            times.after_first += 1
        seen[request] = times.end = at


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    values = np.array(seconds) * 1e3
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)}


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"model    {report['model']} (loaded in {report['load_seconds']} s)",
        f"weights  {report['weights']}, {report['parameters'] / 1e6:.1f} M parameters",
        f"engine   {report['isa']}, {report['threads']} threads",
        f"load     prompts of {report['prompt']} tokens, {report['new']} new ones",
        "",
        f"{'at once':>8} {'prefill t/s':>12} {'decode t/s':>12} {'first token ms':>20} {'between tokens ms':>20}",
    ]
    for one in report["results"]:
        first, between = (
            "/".join(f"{value:.1f}" for value in one[name].values()) or "-"
            for name in ("time_to_first_token_ms", "inter_token_latency_ms")
        )
        decode = one["decode_tokens_per_second"] or "-"
        lines.append(
            f"{one['concurrency']:>8} {one['prefill_tokens_per_second']:>12} {decode:>12} {first:>20} {between:>20}"
        )
    return "\n".join([*lines, "", "times are p50/p90/p99"])
