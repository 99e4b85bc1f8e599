"""An embedding model or cross-encoder as protocols see it: texts in, vectors or scores out, one text at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ziggurat.errors import Cancelled, DeadlineExceeded, InvalidArgument, Unsupported
from ziggurat.serving.admission import Admission
from ziggurat.serving.generation.limits import Limits
from ziggurat.serving.generation.texts import PromptLike, Texts

if TYPE_CHECKING:
    from ziggurat.language import TextEncoder
    from ziggurat.serving.generation.service import Observer, Options

Array = np.ndarray[Any, np.dtype[np.float32]]
Result = TypeVar("Result")

PERMITS = 2  # requests read at once: each uses all of the engine's threads, and one writes while the other reads


class EncoderService:
    """Lives in the registry where an entry is an encoder. All methods but `close` belong to one event loop."""

    generates = False
    has_template = False

    def __init__(self, name: str, encoder: TextEncoder, options: Options, observer: Observer) -> None:
        self.name = name
        self.encoder = encoder
        self.spec = encoder.spec
        self.texts = Texts(name, encoder.tokenizer, encoder.spec.vocab, encoder.spec.context)
        self.limits = Limits(options.sequences, options.waiting_tokens)
        self.created = int(time.time())
        self._admission = Admission(PERMITS, options.sequences)
        self._timeout = options.timeout
        self._observer = observer
        self._progress = time.monotonic()
        self._stops: set[threading.Event] = set()
        self._threads = ThreadPoolExecutor(PERMITS, thread_name_prefix=f"encode-{name}")

    def memory(self) -> dict[str, int]:
        return self.encoder.memory()

    def live(self, hang_seconds: float) -> bool:
        """False only when texts wait and none has been read for too long."""
        return self._admission.running == 0 or time.monotonic() - self._progress < hang_seconds

    async def embed(self, inputs: Sequence[PromptLike], arrived: float) -> tuple[Array, int]:
        """Embeddings [inputs, dimensions], and how many tokens were read."""
        if self.encoder.ranks:
            raise InvalidArgument(f"model '{self.name}' ranks documents and makes no embeddings")
        return await self._run(lambda stop: self._embed(inputs, stop), arrived)

    async def rank(self, query: str, documents: Sequence[str], arrived: float) -> tuple[Array, int]:
        """A score between 0 and 1 for each document by a cross-encoder, the cosine of two embeddings otherwise."""
        job = self._score if self.encoder.ranks else self._compare
        return await self._run(lambda stop: job(query, documents, stop), arrived)

    def cancel_all(self, _: Exception) -> None:
        for stop in tuple(self._stops):
            stop.set()

    def close(self) -> None:
        self.cancel_all(Cancelled("closed"))
        self._threads.shutdown(cancel_futures=True)
        self.texts.close()
        self.encoder.close()

    async def _run(self, job: Callable[[Callable[[], None]], Result], arrived: float) -> Result:
        deadline = arrived + self._timeout if self._timeout else None
        await self._admission.acquire(deadline)
        begun, left = time.monotonic(), threading.Event()

        def stop() -> None:
            self._progress = time.monotonic()
            if left.is_set():
                raise Cancelled("the client left, or the server is stopping")
            if deadline is not None and self._progress > deadline:
                raise DeadlineExceeded(f"not finished within {self._timeout:g} s")

        self._progress = begun
        self._stops.add(left)
        work = asyncio.get_running_loop().run_in_executor(self._threads, job, stop)

        def finished(_: object) -> None:  # the permit follows the thread, not the client
            self._stops.discard(left)
            self._admission.release(time.monotonic() - begun)

        work.add_done_callback(finished)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            left.set()
            raise

    # --- on a thread ---

    def _embed(self, inputs: Sequence[PromptLike], stop: Callable[[], None]) -> tuple[Array, int]:
        rows, tokens = [], 0
        for one in inputs:
            stop()
            rows.append(self.encoder.embed([one])[0])
            tokens += self.encoder.count(one) if isinstance(one, str) else len(one)
        self._observer.tokens(self.name, "prompt", tokens)
        return np.stack(rows), tokens

    def _score(self, query: str, documents: Sequence[str], stop: Callable[[], None]) -> tuple[Array, int]:
        if self.spec.labels != 1:
            raise Unsupported(f"model '{self.name}' gives {self.spec.labels} scores for a pair, not one to rank by")
        scores, tokens = np.empty(len(documents), np.float32), 0
        for at, document in enumerate(documents):
            stop()
            scores[at] = self.encoder.scores(query, [document])[0, 0]
            tokens += self.encoder.count(document)
        tokens += self.encoder.count(query) * len(documents)
        self._observer.tokens(self.name, "prompt", tokens)
        return (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(np.float32), tokens

    def _compare(self, query: str, documents: Sequence[str], stop: Callable[[], None]) -> tuple[Array, int]:
        vectors, tokens = self._embed([query, *documents], stop)
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return units[1:] @ units[0], tokens
