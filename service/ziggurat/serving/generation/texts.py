"""Texts to token ids and back, on threads beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ziggurat.errors import InvalidArgument, PromptTooLong

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

Result = TypeVar("Result")
PromptLike = str | Sequence[int]

# No token of a vocabulary covers more characters than this: a text so many times longer than a context cannot fit it,
# which is known without cutting it.
MAX_CHARACTERS_PER_TOKEN = 256


class Texts:
    """One model's tokenizer with its limits. `work` is for everything that takes more than some 100 µs."""

    def __init__(self, name: str, tokenizer: Tokenizer, vocab: int, context: int) -> None:
        self.tokenizer = tokenizer
        self.vocab = vocab
        self.context = context
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"text-{name}")

    async def work(self, job: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    async def encode(
        self, prompts: Sequence[PromptLike], special: bool, parse_special: bool, *, whole: bool = False
    ) -> list[list[int]]:
        """Token ids of each prompt. `special` adds what the model wants at a text's start, `parse_special` reads
        special tokens where the text spells them. Raises PromptTooLong for what cannot fit unless the `whole` text is
        wanted all the same; ids that come as such are checked against the vocabulary."""
        return await self.work(lambda: [self._encode(prompt, special, parse_special, whole) for prompt in prompts])

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _encode(self, prompt: PromptLike, special: bool, parse_special: bool, whole: bool = True) -> list[int]:
        if isinstance(prompt, str):
            least = len(prompt) // MAX_CHARACTERS_PER_TOKEN
            if least > self.context and not whole:
                text = (
                    f"the prompt has {len(prompt)} characters, far more than a context of {self.context} tokens holds"
                )
                raise PromptTooLong(text, least, self.context)
            return self.tokenizer.encode(prompt, add_special=special, parse_special=parse_special)
        wrong = next((token for token in prompt if not 0 <= token < self.vocab), None)
        if wrong is not None:
            raise InvalidArgument(f"token id {wrong} is outside the vocabulary of {self.vocab} tokens")
        return list(prompt)

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        return self.tokenizer.decode(self._encode(ids, False, False), skip_special=skip_special)
