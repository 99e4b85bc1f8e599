"""An embedding model or a cross-encoder, ready to read text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.errors import InvalidArgument

if TYPE_CHECKING:
    from ziggurat.engine import Model
    from ziggurat.text.tokenizer import Tokenizer
    from ziggurat.types import EncoderSpec

Array = np.ndarray[Any, Any]


class TextEncoder:
    """Reads texts one by one; the same text gives the same bits whatever comes with it. Made by `load_encoder`.

    Attributes:
        spec: Architecture, longest text, dimensions, pooling.
        tokenizer: Text to token ids.
        model: The graph as the engine runs it.
        warnings: What the loader found odd and accepted.
    """

    def __init__(
        self, model: Model, spec: EncoderSpec, tokenizer: Tokenizer, *, first: int = 0, warnings: Sequence[str] = ()
    ) -> None:
        self.model = model
        self.spec = spec
        self.tokenizer = tokenizer
        self.warnings = list(warnings)
        self._first = first

    @property
    def ranks(self) -> bool:
        """Whether this is a cross-encoder, which scores pairs, rather than an embedding model."""
        return self.spec.labels > 0

    def memory(self) -> dict[str, int]:
        """Bytes that it holds: `packed` weights and `constants` kept as they came."""
        return self.model.memory()

    def embed(self, texts: Sequence[str | Sequence[int]]) -> Array:
        """Embeddings [texts, dimensions] float32, pooled and normalised as the model says.

        Args:
            texts: strings, cut after `spec.context` tokens; or token ids as they are, special tokens included.

        Raises:
            InvalidArgument: ids outside the vocabulary, no or too many of them, or a model that ranks.
        """
        if self.ranks:
            raise InvalidArgument("this model is a cross-encoder: it scores pairs and gives no embeddings")
        rows = [self._run("embedding", *self._tokens(text)) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.spec.dimensions), np.float32)

    def scores(self, query: str, documents: Sequence[str]) -> Array:
        """Scores [documents, labels] float32 of each document for the query: the head's numbers, without a sigmoid.

        A pair that is too long loses the document's end.

        Raises:
            InvalidArgument: the query alone is too long, or the model gives embeddings.
        """
        if not self.ranks:
            raise InvalidArgument("this model gives embeddings and has no head that scores pairs")
        rows = [self._run("scores", *self._pair(query, document)) for document in documents]
        return np.stack(rows) if rows else np.zeros((0, self.spec.labels), np.float32)

    def count(self, text: str) -> int:
        """How many tokens of a text are read."""
        return len(self._tokens(text)[0])

    def close(self) -> None:
        self.model.close()

    def __enter__(self) -> TextEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens(self, text: str | Sequence[int]) -> tuple[list[int], list[int]]:
        if not isinstance(text, str):
            ids = list(text)
            if not 0 < len(ids) <= self.spec.context:
                raise InvalidArgument(f"{len(ids)} token ids; this model reads 1 to {self.spec.context}")
            return ids, [0] * len(ids)
        ids = self.tokenizer.encode(text)
        around = len(self.tokenizer.encode(""))
        ids = _cut(ids, self.spec.context, self._behind(around))
        return ids, [0] * len(ids)

    def _pair(self, query: str, document: str) -> tuple[list[int], list[int]]:
        ids, types = self.tokenizer.encode_pair(query, document)
        if len(ids) > self.spec.context:
            alone, _ = self.tokenizer.encode_pair(query, "")
            if len(alone) >= self.spec.context:
                raise InvalidArgument(f"the query has {len(alone)} tokens; pairs have at most {self.spec.context}")
            ids, types = _cut(ids, self.spec.context, 1), _cut(types, self.spec.context, 1)
        return ids, types

    @staticmethod
    def _behind(around: int) -> int:
        """How many of the special tokens around a text stand behind it: all but the first."""
        return max(around - 1, 0)

    def _run(self, output: str, ids: list[int], types: list[int]) -> Array:
        feeds = {
            "tokens": np.array(ids, np.int64),
            "positions": np.arange(self._first, self._first + len(ids), dtype=np.int64),
            "types": np.array(types, np.int64),
        }
        wanted = {spec.name for spec in self.model.inputs}
        return self.model.run({name: value for name, value in feeds.items() if name in wanted})[output]  # type: ignore[no-any-return]


def _cut(values: list[int], length: int, behind: int) -> list[int]:
    """At most `length` values, the last `behind` of them kept."""
    if len(values) <= length:
        return values
    return values[: length - behind] + values[len(values) - behind :]
