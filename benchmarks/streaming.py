"""What HTTP costs a language model: python -m benchmarks.streaming MODEL [--clients 16] [--new 128] [--json]

Streams of several clients at once against `generate_batch` of the same prompts in a process of its own, tokens a second
from the first request to the last token; and the time to the first token of a long prompt that is new, and of one whose
beginning the prefix cache has. The two sides run in turn, medians of the rounds count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import time
import urllib.request
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.batching import server


def prompts(clients: int, round_: int, vocab: int) -> list[list[int]]:
    numbers = random.Random(1000 * clients + round_)
    return [[numbers.randrange(vocab // 2, vocab) for _ in range(24)] for _ in range(clients)]


def engine_alone(path: str, clients: int, new: int, rounds: int, pipe: Connection) -> None:
    """Runs in a process of its own: the vocabulary, then tokens a second, a round whenever it is asked for one."""
    import ziggurat

    with ziggurat.load_llm(path) as llm:
        vocab = llm.spec.vocab
        pipe.send(vocab)
        for round_ in range(rounds + 1):
            pipe.recv()
            wanted = prompts(clients, round_, vocab)
            begin = time.perf_counter()
            told = [
                len(list(one)) for one in llm.generate_batch(wanted, max_tokens=new, temperature=0, ignore_eos=True)
            ]
            pipe.send(sum(told) / (time.perf_counter() - begin))


class Client:
    """Asks one server. Answers are read as bytes and searched, not parsed: the machine is the server's."""

    def __init__(self, url: str) -> None:
        self.host, self.port = str(urlsplit(url).hostname), int(urlsplit(url).port or 80)
        with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as reply:
            self.name = json.load(reply)["data"][0]["id"]

    async def stream(self, prompt: list[int], new: int) -> tuple[float, int, int]:
        """Seconds to the first token, tokens generated, and tokens of the prompt that were cached."""
        body = {"model": self.name, "prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True}
        data = json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}}).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        begin = time.perf_counter()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
        )
        writer.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + data)
        first, tail = 0.0, b""
        while chunk := await reader.read(1 << 16):
            tail = (tail + chunk)[-4096:]
            if not first and b"data: " in tail:
                first = time.perf_counter() - begin
        writer.close()
        if b"data: [DONE]" not in tail:
            raise RuntimeError(f"the stream broke off: {tail[-500:]!r}")
        last = [line for line in tail.decode(errors="replace").splitlines() if '"usage":{' in line][-1]
        usage = json.loads(last.removeprefix("data: "))["usage"]
        return first, usage["completion_tokens"], (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)

    async def crowd(self, wanted: list[list[int]], new: int) -> float:
        begin = time.perf_counter()
        told = await asyncio.gather(*(self.stream(prompt, new) for prompt in wanted))
        return sum(tokens for _, tokens, _ in told) / (time.perf_counter() - begin)

    def prefix(self, length: int, round_: int, vocab: int) -> tuple[float, float, int]:
        """Seconds to the first token of a new prompt, of one that begins alike, and how much of that was cached."""
        shared = [random.Random(77 + round_).randrange(vocab // 2, vocab) for _ in range(length)]
        first, _, _ = asyncio.run(self.stream([*shared, 5, 6, 7], 2))
        again, _, cached = asyncio.run(self.stream([*shared, 8, 9], 2))
        return first, again, cached


def measure(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    work = (str(path), arguments.clients, arguments.new, arguments.rounds, theirs)
    process = multiprocessing.get_context("spawn").Process(target=engine_alone, args=work)
    process.start()
    vocab = ours.recv()
    alone, served, firsts = [], [], []
    with server(path) as url:
        client = Client(url)
        for round_ in range(arguments.rounds + 1):  # the first warms up
            ours.send(None)
            alone.append(ours.recv())
            time.sleep(0.1)  # longer than its workers spin
            served.append(asyncio.run(client.crowd(prompts(arguments.clients, round_, vocab), arguments.new)))
            if arguments.prefix:
                firsts.append(client.prefix(arguments.prefix, round_, vocab))
    process.join()
    engine, http = statistics.median(alone[1:]), statistics.median(served[1:])
    report = {"clients": arguments.clients, "engine": engine, "http": http, "share": http / engine}
    if firsts:
        new, again = (statistics.median(one[at] for one in firsts) for at in (0, 1))
        report |= {"prefix": arguments.prefix, "cached": firsts[-1][2], "first_new": new, "first_cached": again}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--new", type=int, default=128, help="tokens of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix", type=int, default=1500, help="tokens that prompts share; 0: leave it out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = measure(arguments.model.resolve(), arguments)
    if arguments.json:
        print(json.dumps(report | {"threads": os.cpu_count()}))
        return
    print(
        f"{report['clients']} clients: {report['http']:.1f} tokens/s over HTTP, {report['engine']:.1f} of the engine "
        f"alone, {100 * report['share']:.0f} %"
    )
    if "prefix" in report:
        ratio = report["first_new"] / report["first_cached"]
        print(
            f"a prompt of {report['prefix']} tokens: {report['first_new'] * 1e3:.1f} ms to the first token; with "
            f"{report['cached']} of them cached {report['first_cached'] * 1e3:.1f} ms, {ratio:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
