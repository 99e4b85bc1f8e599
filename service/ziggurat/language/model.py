"""A language model, ready to generate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ziggurat.errors import InvalidArgument, Unavailable
from ziggurat.language.driver import Driver
from ziggurat.language.events import Sampling, TokenEvent
from ziggurat.language.stream import Stream

if TYPE_CHECKING:
    from ziggurat.engine import Generator, Model
    from ziggurat.text.tokenizer import Tokenizer
    from ziggurat.types import LanguageModelSpec

Prompt = str | Sequence[int]
_TEXT_OPTIONS = ("stop", "include_stop", "skip_special")


class LanguageModel:
    """A decoder with its tokenizer and key-value cache. Made by `ziggurat.load_llm`; use it in a `with` or close it.

    Calls may come from several threads; their requests run together, batched, with the same results as alone.

    Attributes:
        spec: Architecture, vocabulary, context and other sizes.
        model: The graph as the engine runs it: `model.plan()` shows it.
        generator: The engine's scheduler and sampler, for those who drive steps themselves (then not by `generate`).
        warnings: What the loader found odd and accepted.
    """

    def __init__(
        self,
        model: Model,
        generator: Generator,
        spec: LanguageModelSpec,
        tokenizer: Tokenizer | None,
        *,
        warnings: Sequence[str] = (),
    ) -> None:
        self.spec = spec
        self.model = model
        self.warnings = list(warnings)
        self._generator: Generator | None = generator
        self._driver = Driver(generator)
        self._tokenizer = tokenizer

    @property
    def generator(self) -> Generator:
        if self._generator is None:
            raise Unavailable("the language model is closed")
        return self._generator

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back. Raises Unavailable where the checkpoint has none: then give token ids."""
        if self._tokenizer is None:
            raise Unavailable("this checkpoint has no tokenizer: give prompts as token ids")
        return self._tokenizer

    def memory(self) -> dict[str, int]:
        """Bytes that it holds: `packed` weights, `constants` kept as they came, and the `kv_cache`."""
        return self.model.memory() | {"kv_cache": self.generator.stats()["kv_bytes"]}

    def generate(self, prompt: Prompt, **sampling: Unpack[Sampling]) -> Iterator[TokenEvent]:
        """Continues a prompt.

        Args:
            prompt: text (the tokenizer adds what the model expects at a text's start), or token ids as they are.
            sampling: see `Sampling`; the defaults sample at temperature 1 until the model ends or the context is full.

        Returns:
            The tokens as they come. The request starts at once; leaving the iteration early cancels it.

        Raises:
            InvalidArgument: the prompt is empty, too long (with n_prompt_tokens and n_ctx), has ids outside the
                vocabulary, or an option makes no sense. Raised here, before any work.
            OutOfMemory: the cache could not hold the request if it had it all.

        Example:
            >>> for event in llm.generate("Once upon a time", max_tokens=64, temperature=0.0):
            ...     print(event.text, end="")
        """
        return self._start(prompt, sampling)

    def generate_batch(self, prompts: Sequence[Prompt], **sampling: Unpack[Sampling]) -> list[Iterator[TokenEvent]]:
        """Continues several prompts at once: one iterable of tokens for each, with the results of one by one.

        All requests run whichever iterable is read. Raises as `generate`; then none of them runs.
        """
        started: list[Iterator[TokenEvent]] = []
        try:
            for prompt in prompts:
                started.append(self._start(prompt, sampling))
        except BaseException:
            for events in started:
                events.close()  # type: ignore[attr-defined]
            raise
        return started

    def forward(self, token_ids: Sequence[int]) -> np.ndarray[Any, Any]:
        """Logits [tokens, vocab] float32 after each of the tokens, from a sequence that leaves nothing behind.

        For tests and evaluation. Between the steps of what else is being generated.

        Raises:
            InvalidArgument: no tokens, too many, or ids outside the vocabulary.
        """
        _ = self.generator  # closed?
        return self._driver.logits(self._ids(token_ids))

    def close(self) -> None:
        """Gives weights and cache back once the last run has ended."""
        self._generator = None
        self.model.close()

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, prompt: Prompt, sampling: Sampling) -> Iterator[TokenEvent]:
        ids = self._ids(prompt)
        _ = self.generator  # closed?
        options: dict[str, Any] = {key: value for key, value in sampling.items() if key not in _TEXT_OPTIONS}
        unknown = sorted(set(sampling) - Sampling.__annotations__.keys())
        if unknown:
            known = ", ".join(Sampling.__annotations__)
            raise InvalidArgument(f"unknown options {', '.join(unknown)}; known are {known}")
        streams = [self._stream(sampling) for _ in range(options.get("n", 1))]
        request = self._driver.add(ids, options)
        return _Events(self._driver, request, streams)

    def _stream(self, sampling: Sampling) -> Stream:
        stop = sampling.get("stop", ())
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if stops and self._tokenizer is None:
            raise InvalidArgument("stop strings need a tokenizer, which this checkpoint does not have")
        return Stream(
            self._tokenizer,
            stop=stops,
            include_stop=sampling.get("include_stop", False),
            skip_special=sampling.get("skip_special", True),
            silent=frozenset(self.spec.eos_token_ids),
        )

    def _ids(self, prompt: Prompt) -> Sequence[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt)
        return prompt


class _Events(Iterator[TokenEvent]):
    """The tokens of one request. Closing it, or letting it go, cancels what still runs."""

    def __init__(self, driver: Driver, request: int, streams: list[Stream]) -> None:
        self._driver = driver
        self._request = request
        self._streams = streams
        self._left = len(streams)

    def __next__(self) -> TokenEvent:
        while self._left:
            event = self._driver.next_of(self._request)
            stream = self._streams[event.index]
            if stream.finished:  # a stop string ended it before the engine knew
                continue
            if event.finish == "error":
                self.close()
                raise event.error or Unavailable("the generation ended by an error")
            shown = stream.push(event)
            if shown.finish_reason is not None:
                self._finish(event.index, told=event.finish is not None)
            return shown
        raise StopIteration

    def _finish(self, index: int, told: bool) -> None:
        self._left -= 1
        if self._left == 0:
            self.close()
        elif not told:
            self._driver.cancel(self._request, index)

    def close(self) -> None:
        self._left = 0
        self._driver.drop(self._request)

    def __del__(self) -> None:
        self.close()
