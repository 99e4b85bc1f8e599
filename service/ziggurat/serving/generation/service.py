"""A language model as protocols see it: prompts in, streams of text out, within limits, on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ziggurat.errors import DeadlineExceeded, InvalidArgument, OutOfMemory, Unavailable
from ziggurat.serving.generation.driver import Driver, Failure
from ziggurat.serving.generation.limits import BYTES_PER_TOKEN, Limits, Ticket
from ziggurat.serving.generation.stream import Choice, Part, Prompt, Stream, Token
from ziggurat.serving.generation.texts import PromptLike, Texts
from ziggurat.telemetry.language import LanguageSample
from ziggurat.text.detokenizer import Detokenizer
from ziggurat.text.grammars import Grammars
from ziggurat.text.reasoning import ReasoningSplitter
from ziggurat.text.templates import ChatTemplate
from ziggurat.text.tool_parser import ToolParser
from ziggurat.version import __version__

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.engine import TokenEvent
    from ziggurat.language import LanguageModel
    from ziggurat.serving.generation.driver import Constraint
    from ziggurat.serving.generation.request import Generation


class Observer(Protocol):
    """Who is told how long things took, and how many tokens there were."""

    def first_token(self, model: str, seconds: float) -> None: ...
    def inter_token(self, model: str, seconds: float) -> None: ...
    def tokens(self, model: str, kind: str, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """What a server allows one language model: sequences that run or wait, prompt tokens that wait, tokens that a
    reader may be behind, seconds a generation may take (0: no limit)."""

    sequences: int = 256
    waiting_tokens: int = 1 << 20
    backlog: int = 1024
    timeout: float = 0.0


class LanguageService:
    """Not thread-safe but for `close` and what is read for metrics: all else belongs to one event loop."""

    generates = True

    def __init__(
        self, name: str, language: LanguageModel, options: Options, observer: Observer, logger: FilteringBoundLogger
    ) -> None:
        self.name = name
        self.language = language
        self.spec = language.spec
        self.texts = Texts(name, language.tokenizer, self.spec.vocab, self.spec.context)
        self.limits = Limits(options.sequences, options.waiting_tokens)
        self.created = int(time.time())
        self.eos = frozenset((*self.spec.eos_token_ids, *language.tokenizer.stop_ids))
        self._more_ends = tuple(self.eos.difference(self.spec.eos_token_ids))  # known to the tokenizer's files alone
        self.template = ChatTemplate.of(language.tokenizer)
        self.has_template = self.template is not None
        self.grammars = Grammars(language.tokenizer)
        self.fingerprint = f"ziggurat-{__version__}"
        self._options = options
        self._observer = observer
        self._running: dict[int, tuple[Stream, Part]] = {}  # by the engine's request
        self._streams: set[Stream] = set()
        self._busy_since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.driver = Driver(name, language.generator, self._from_driver, logger)

    def tool_parser(self) -> ToolParser | None:
        """A reader of the calls that the model's template writes; None where it writes none."""
        return ToolParser.for_template(self.template.source) if self.template is not None else None

    def splitter(self, prompt_end: str) -> ReasoningSplitter | None:
        """What tells thoughts from words, where the model's template knows the difference."""
        return ReasoningSplitter.for_template(self.template.source, prompt_end) if self.template is not None else None

    def memory(self) -> dict[str, int]:
        return self.language.memory()

    def live(self, hang_seconds: float) -> bool:
        """False only when sequences wait and no step has ended for too long."""
        last = max(self.driver.last_step, self._busy_since)
        return not self._running or time.monotonic() - last < hang_seconds

    async def generate(
        self,
        prompts: Sequence[PromptLike],
        wanted: Generation,
        *,
        arrived: float,
        special: bool = True,
        parse_special: bool = False,
        continues: bool = False,
        keep: Sequence[int] = (),
        constraint: Callable[[], Constraint] | None = None,
    ) -> Stream:
        """Cuts the prompts into tokens, queues them and returns the stream of their choices: choice `i * n + k` is the
        k-th of prompt i. Raises Overloaded before any work is done, and whatever is wrong with the request.

        `special` and `parse_special` as for Texts.encode; `continues` and `keep` as for Detokenizer.
        """
        guess = sum(len(p) // BYTES_PER_TOKEN + 1 if isinstance(p, str) else len(p) for p in prompts)
        ticket = self.limits.acquire(len(prompts) * wanted.n, guess)
        try:
            tokens = await self.texts.encode(prompts, special, parse_special)
            self.limits.correct(ticket, sum(map(len, tokens)))
            constraints = [await self.texts.work(constraint) if constraint else None for _ in prompts]
        except BaseException:
            self.limits.release(ticket)
            raise
        parts = [
            Part(Prompt(ids, prompt if isinstance(prompt, str) else None), self._choices(at, wanted, keep, continues))
            for at, (ids, prompt) in enumerate(zip(tokens, prompts, strict=True))
        ]
        stream = self._stream(parts, wanted, arrived, ticket)
        try:
            for part, one in zip(stream.parts, constraints, strict=True):
                self._submit(stream, part, one)
        except BaseException:
            stream.close()
            raise
        stream.times.submitted = time.monotonic()
        return stream

    def sample(self) -> LanguageSample:
        """For metrics; from any thread."""
        return LanguageSample(self.name, self.driver.last_step_at, self.language.generator.stats())

    def cancel_all(self, error: Exception) -> None:
        """Ends every stream by an error."""
        for stream in tuple(self._streams):
            stream.finish(error)

    def close(self) -> None:
        """Ends the steps and gives the model's memory back; streams that are still open end by an error."""
        self.driver.close()
        self.texts.close()
        self.language.close()

    def _choices(self, at: int, wanted: Generation, keep: Sequence[int], continues: bool) -> list[Choice]:
        tokenizer = self.texts.tokenizer
        return [
            Choice(
                at * wanted.n + k,
                wanted,
                Detokenizer(tokenizer, wanted.skip_special, keep=keep, continues=continues),
                self.eos,
            )
            for k in range(wanted.n)
        ]

    def _stream(self, parts: list[Part], wanted: Generation, arrived: float, ticket: Ticket) -> Stream:
        self._loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def ended(stream: Stream) -> None:
            if timer is not None:
                timer.cancel()
            self._ended(stream)

        stream = Stream(wanted, parts, ticket, self._options.backlog, arrived, ended)
        self._streams.add(stream)
        timeout = min((one for one in (wanted.timeout, self._options.timeout) if one), default=None)
        if timeout is not None:
            late = DeadlineExceeded(f"not finished within {timeout:g} s")
            timer = self._loop.call_later(arrived + timeout - time.monotonic(), stream.finish, late)
        return stream

    def _submit(self, stream: Stream, part: Part, constraint: Constraint | None) -> None:
        if not self._running:
            self._busy_since = time.monotonic()
        options = stream.wanted.options()
        if self._more_ends and not stream.wanted.ignore_eos:
            options["stop_token_ids"] = (*stream.wanted.stop_token_ids, *self._more_ends)
        try:
            part.request = self.driver.add(part.prompt.tokens, options, constraint)
        except OutOfMemory as error:  # not now but ever: it does not help to ask again
            raise InvalidArgument(error.message) from None
        self._running[part.request] = (stream, part)

    def _ended(self, stream: Stream) -> None:
        """A stream has ended, well or not: what the engine still does for it is cancelled, its ticket comes back."""
        self._streams.discard(stream)
        for part in stream.parts:
            if self._running.pop(part.request, None) is not None and part.open:
                self.driver.cancel(part.request)
        seconds = stream.times.ended - stream.times.submitted if stream.error is None and stream.times.first else None
        self.limits.release(stream.ticket, seconds)
        self._observer.tokens(self.name, "generated", stream.generated_tokens)

    # --- from the driver's thread ---

    def _from_driver(self, events: Sequence[TokenEvent | Failure]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._receive, events)

    def _receive(self, events: Sequence[TokenEvent | Failure]) -> None:
        now = time.monotonic()
        for event in events:
            if isinstance(event, Failure):
                self._fail(event)
                continue
            known = self._running.get(event.request)
            if known is not None and not known[1].choices[event.index].finished:
                self._feed(*known, event, now)

    def _feed(self, stream: Stream, part: Part, event: TokenEvent, now: float) -> None:
        choice = part.choices[event.index]
        if event.finish in ("error", "cancelled"):
            stream.finish(event.error or Unavailable("the generation was cancelled"))
            return
        if event.prompt_logprobs is not None:
            part.prompt.logprobs = _scores(part.prompt.tokens, event.prompt_logprobs)
        if not stream.times.first:
            self._first(stream, now)
        if event.cached_tokens:
            part.prompt.cached = event.cached_tokens
        if choice.last:
            self._observer.inter_token(self.name, now - choice.last)
        choice.last = now
        piece = choice.feed(event)
        if piece.finish is not None:
            part.open -= 1
            if event.finish is None:  # a stop text: the engine does not know yet
                self.driver.cancel(part.request, event.index)
            if part.open == 0:
                self._running.pop(part.request, None)
        stream.push(piece)
        if all(one.open == 0 for one in stream.parts):
            stream.finish()

    def _first(self, stream: Stream, now: float) -> None:
        stream.times.first = now
        self.limits.correct(stream.ticket, 0)
        self._observer.first_token(self.name, now - stream.times.arrived)
        self._observer.tokens(self.name, "prompt", stream.prompt_tokens)

    def _fail(self, failure: Failure) -> None:
        if failure.request is None:
            self.cancel_all(failure.error)
        elif (known := self._running.get(failure.request)) is not None:
            known[0].finish(failure.error)


def _scores(ids: Sequence[int], told: Sequence[tuple[float, Sequence[tuple[int, float]]] | None]) -> list[Token]:
    """Each token of a prompt with its log probability; none for the first, which nothing predicts."""
    return [Token(token, *(score or (None,))) for token, score in zip(ids, told, strict=True)]
