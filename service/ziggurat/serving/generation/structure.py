"""What a text must be, as masks over the next token; what cannot be enforced is refused before the first token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.errors import InvalidArgument

if TYPE_CHECKING:
    from ziggurat.serving.generation.driver import Constraint, Masks
    from ziggurat.serving.generation.request import Structure
    from ziggurat.serving.generation.service import LanguageService


def constraint_for(
    service: LanguageService, structure: Structure | None, after: str | None = None
) -> Callable[[], Constraint] | None:
    """What makes the constraint of one sequence, on a thread; None where the text is free. Up to the mark `after` it is
    free in any case."""
    if structure is None:
        return None
    if structure.kind == "tokens":
        return lambda: TokenSet(structure.value, service.spec.vocab)
    return lambda: service.grammars.compile(after=after, **{structure.kind: structure.value})


class TokenSet:
    """Only these tokens."""

    def __init__(self, tokens: Sequence[int], vocab: int) -> None:
        wrong = next((token for token in tokens if not 0 <= token < vocab), None)
        if wrong is not None:
            raise InvalidArgument(f"token id {wrong} is outside the vocabulary of {vocab} tokens")
        bits = np.zeros((vocab + 31) // 32 * 32, np.uint8)
        bits[list(tokens)] = 1
        self._mask: Masks = np.packbits(bits, bitorder="little").view("<u4")

    def mask_into(self, row: Any) -> None:
        row[:] = self._mask

    def accept(self, token: int) -> None:
        pass

    def copy(self) -> TokenSet:
        return self
