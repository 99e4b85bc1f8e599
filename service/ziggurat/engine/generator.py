"""A language model's steps: requests in, tokens out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ziggurat import _native
from ziggurat.engine.events import TokenEvent
from ziggurat.engine.model import Model
from ziggurat.errors import InvalidArgument

Masks = np.ndarray[Any, np.dtype[np.uint32]]


class Generator:
    """Continuous batching over one decoder.

    Requests come and go at any time; each step runs what the scheduler chose: one token of every sequence that
    generates, then chunks of prompts, up to `step_tokens`. The tokens and log probabilities of a request depend on its
    own prompt, parameters and seed only, bit for bit: not on who shares the step, on how its prompt is cut, on what
    was found in the prefix cache, on preemption, on speculation, or on the number of threads.

    `add`, `cancel` and `stats` may be called from any thread. One thread at a time drives steps: `schedule`, `forward`,
    `sample`, or `step` for all three.

    Args:
        model: a decoder graph.
        layers, kv_heads, head_dim: what its KV cache must hold.
        vocab: how many token ids there are.
        context: the longest sequence, prompt and answer together.
        kv_dtype: "auto" (f16), "f32", "f16", "bf16" or "int8".
        kv_bytes: the KV cache's size. Default: half of what the engine's memory limit leaves, and no more than
            `max_sequences` whole contexts take.
        step_tokens: tokens that one step computes at most.
        max_sequences: sequences that run at once; the others wait.
        prefix_cache: whether blocks of 32 tokens that an earlier prompt or answer began with are kept and used again.
        speculation: "ngram" guesses ahead from what the text repeats, and stops where guessing does not pay; "auto" and
            "off" do not.
        eos: ids that end a sequence.

    Raises:
        InvalidModel: the graph is not a decoder's.
        InvalidArgument: an option out of range.
        OutOfMemory: not one block of the KV cache fits.

    Example:
        >>> request = generator.add([1, 15043], max_tokens=8, temperature=0.0)
        >>> while (events := generator.step()) is not None:
        ...     print([event.token for event in events])
    """

    def __init__(
        self,
        model: Model,
        *,
        layers: int,
        kv_heads: int,
        head_dim: int,
        vocab: int,
        context: int,
        kv_dtype: str = "auto",
        kv_bytes: int | None = None,
        step_tokens: int = 256,
        max_sequences: int = 64,
        prefix_cache: bool = True,
        speculation: str = "auto",
        eos: Sequence[int] = (),
    ) -> None:
        if speculation not in ("auto", "off", "ngram"):
            raise InvalidArgument(f"speculation is auto, off or ngram, not {speculation!r}")
        self.vocab = vocab
        self.context = context
        self._core = _native.Generator(
            model.core,
            layers,
            kv_heads,
            head_dim,
            vocab,
            context,
            kv_dtype,
            kv_bytes,
            step_tokens,
            max_sequences,
            prefix_cache,
            speculation == "ngram",
            list(eos),
        )

    def add(
        self,
        prompt: Sequence[int] | np.ndarray[Any, Any],
        *,
        max_tokens: int | None = None,
        min_tokens: int = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        n: int = 1,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        stop_token_ids: Iterable[int] = (),
        ignore_eos: bool = False,
        constrained: bool = False,
        priority: int = 0,
        salt: bytes = b"",
    ) -> int:
        """Queues a request and returns its id.

        Args:
            prompt: token ids.
            max_tokens: of the answer. Default: until the context or the KV cache is full. 0 computes the prompt only.
            min_tokens: until so many, tokens that would end the answer are not drawn.
            temperature: 0 takes the most likely token.
            top_k: draw among the k most likely; 0: among all.
            top_p: draw among the most likely that together have this probability.
            min_p: leave out tokens less likely than this share of the most likely one.
            repetition_penalty: above 1 makes tokens of prompt and answer less likely.
            presence_penalty, frequency_penalty: subtracted from the logits of the answer's tokens, once, and for each
                occurrence.
            logit_bias: added to the logits of these ids.
            seed: equal seeds give equal answers. Default: a random one.
            n: how many answers; they share the prompt's cache.
            logprobs: report log probabilities, of the chosen token and so many of the most likely.
            prompt_logprobs: likewise for each token of the prompt, which the prefix cache then does not serve.
            stop_token_ids: end the answer, also where `ignore_eos` is set.
            ignore_eos: the model's own end tokens do not end the answer.
            constrained: each draw is under a mask, see `schedule`.
            priority: higher goes first, and takes the KV cache of lower ones where it must.
            salt: the prefix cache shares among requests of equal salt only.

        Raises:
            PromptTooLong: the prompt leaves no room in the context (n_prompt_tokens, n_ctx).
            InvalidArgument: another parameter that makes no sense, or an id that the vocabulary does not have.
            OutOfMemory: more tokens than the KV cache could hold if it had all of it; the message has the numbers.
        """
        return self._core.add(
            _ids(prompt),
            max_tokens=max_tokens,
            min_tokens=min_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            logit_bias=dict(logit_bias) if logit_bias else None,
            seed=seed,
            n=n,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            stop_token_ids=list(stop_token_ids),
            ignore_eos=ignore_eos,
            constrained=constrained,
            priority=priority,
            salt=salt,
        )

    def cancel(self, request: int, index: int | None = None) -> None:
        """Ends a request, or one of its sequences, before the next step; its cache is free then. Unknown ids and those
        that have ended are ignored."""
        self._core.cancel(request, index)

    def check_process(self) -> None:
        """Raises Unavailable in a forked child, where no engine of the parent works."""
        self._core.check_process()

    def schedule(self) -> list[tuple[int, int]] | None:
        """Chooses the next step.

        Returns:
            The (request, index) whose next token is drawn under a mask, in the order of `sample`'s rows, so that masks
            can be made while `forward` runs. None where there is nothing to do: then no step has begun. A step that was
            begun and not brought to its `sample` is forgotten, as if it had not been.
        """
        return self._core.schedule()

    def forward(self) -> None:
        """Runs the model on the chosen step; releases the GIL. An error of it ends the sequences in the step, as their
        last event, and no others. Where memory runs out nobody ends: `sample` gives no tokens and the next steps are
        smaller; only where a single token does not fit does the sequence that came last end, by OutOfMemory."""
        self._core.forward()

    def sample(self, masks: Masks | None = None) -> list[TokenEvent]:
        """Draws the step's tokens.

        Args:
            masks: uint32 [rows, ceil(vocab / 32)]: bit i of word w allows token 32 w + i. A row for each pair that
                `schedule` gave, in that order.

        Raises:
            InvalidArgument: another number of masks; nothing was drawn, and `sample` may be called again.
        """
        return [TokenEvent._make(event) for event in self._core.sample(masks)]

    def step(self) -> list[TokenEvent] | None:
        """A whole step, for requests without masks; None where there is nothing to do."""
        if self.schedule() is None:
            return None
        self.forward()
        return self.sample()

    def stats(self) -> dict[str, Any]:
        """Counts: running and waiting (sequences), kv_blocks_used, _cached and _total, kv_bytes, prefix_hit_tokens of
        prefix_query_tokens, preemptions, memory_retries (steps that found no memory and were tried again, smaller),
        prompt_tokens, generated_tokens, computed_tokens (recomputed ones and guesses
        included), accepted_tokens of draft_tokens, steps; and the seconds that steps spent in schedule, forward and
        sample."""
        return self._core.stats()

    def forward_logits(self, token_ids: Sequence[int] | np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits [tokens, vocab] of a text, computed in steps of `step_tokens` like any prompt, between other steps."""
        return self._core.forward_logits(_ids(token_ids))


def _ids(tokens: Sequence[int] | np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
    ids = np.asarray(tokens)
    if ids.size == 0:
        return np.zeros(0, np.int32)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise InvalidArgument(f"token ids are a list of integers, not {ids.dtype} of shape {list(ids.shape)}")
    if ids.min() < 0 or ids.max() >= 2**31:
        raise InvalidArgument(f"token ids lie between 0 and the vocabulary's size, not {ids.min()} to {ids.max()}")
    return np.ascontiguousarray(ids, np.int32)
