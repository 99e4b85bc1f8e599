"""Text to token ids and back, whatever file the vocabulary came from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument, InvalidModel
from ziggurat.text.pieces import Pieces

if TYPE_CHECKING:
    import tokenizers

    from ziggurat.text.guard import Guard

MAX_TOKENS = 1 << 22  # ids; the largest published vocabularies have a sixteenth of it


class Tokenizer:
    """Wraps a `tokenizers.Tokenizer`. Immutable once `fit` has been called, so any number of threads may use it.

    Attributes:
        vocab_size: Ids are 0 to vocab_size - 1; some may have no token (then they add nothing to a text).
        bos_id, eos_id, pad_id, unk_id: Ids of the usual special tokens, None where the model has none.
        stop_ids: Every token that ends a generation, ascending: end of sequence, of turn, of message.
        special_ids: Tokens that are structure rather than text.
        special_tokens: Texts by role ("bos_token", …), as chat templates read them.
        chat_templates: Jinja sources by name; the usual one is "default".
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        special_tokens: Mapping[str, str] | None = None,
        stop_ids: Iterable[int] = (),
        chat_templates: Mapping[str, str] | None = None,
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._ids: dict[str, int] = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(self._ids.values(), default=-1) + 1
        if self.vocab_size > MAX_TOKENS:
            raise InvalidModel(
                f"the tokenizer has a token with the id {self.vocab_size - 1}; {MAX_TOKENS} is the limit"
            )
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.special_tokens = dict(special_tokens or {})
        role = self.special_tokens.get
        self.bos_id, self.eos_id = self.token_id(role("bos_token")), self.token_id(role("eos_token"))
        self.pad_id, self.unk_id = self.token_id(role("pad_token")), self.token_id(role("unk_token"))
        ends = {*stop_ids, *([] if self.eos_id is None else [self.eos_id])}
        self.stop_ids = tuple(sorted(i for i in ends if 0 <= i < self.vocab_size))
        self.chat_templates = dict(chat_templates or {})
        self._plain = _plain(backend, self.special_ids)
        self.pieces = self._pieces()

    @classmethod
    def from_folder(cls, path: str | Path) -> Tokenizer:
        """Reads tokenizer.json and what stands beside it in a Hugging Face folder.

        Raises:
            InvalidModel: A file is missing or cannot be understood.
            Unsupported: Only a vocabulary format that is not tokenizer.json is there.
        """
        from ziggurat.text.folder import read_folder

        return read_folder(Path(path))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """Builds the same from a GGUF file's `tokenizer.*` keys (arrays as sequences, strings as str or UTF-8 bytes).

        Raises:
            InvalidModel: Counts that disagree, tokens that are not UTF-8, merges of unknown tokens, and the like.
            Unsupported: A kind of vocabulary that is not known here.
        """
        from ziggurat.text.gguf import read_gguf_vocabulary

        return read_gguf_vocabulary(metadata)

    @property
    def chat_template(self) -> str | None:
        """The template for conversations, None where the model brings none."""
        return self.chat_templates.get("default")

    def fit(self, rows: int) -> Tokenizer:
        """Declares how many rows the model's embedding has; rows past the last token are padding and add no text.

        Raises:
            InvalidModel: Tokens that the model has no row for.
        """
        if rows < self.vocab_size:
            raise InvalidModel(f"the tokenizer has {self.vocab_size} tokens, the model only {rows} rows for them")
        self.vocab_size = rows
        self.pieces = self._pieces()
        return self

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of `text`.

        Args:
            text: Any string of Unicode scalar values.
            add_special: Add what the model expects around a text (beginning of sequence, …).
            parse_special: Read special tokens written out in `text` as such. Off for what comes from a user.

        Raises:
            InvalidArgument: Lone surrogates.
            InvalidModel: A vocabulary that turns out to have no way to write the text.
        """
        backend = self._backend if parse_special else self._plain
        try:
            return list(backend.encode(text, add_special_tokens=add_special).ids)
        except TypeError as error:  # what the library says to a string that has no UTF-8
            raise InvalidArgument("the text has half a surrogate pair, which is no character") from error
        except Exception as error:  # of its own it raises nothing more precise
            raise InvalidModel(f"the tokenizer cannot read the text: {error}") from error

    def encode_inner(self, text: str) -> list[int]:
        """Token ids of a text that stands inside another one: nothing around it, no space put before it."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def encode_pair(self, text: str, pair: str) -> tuple[list[int], list[int]]:
        """Token ids and segment ids (0, 1) of two texts as cross-encoders take them, both as plain text.

        Raises:
            InvalidArgument: Lone surrogates.
        """
        try:
            found = self._plain.encode(text, pair)
        except TypeError as error:
            raise InvalidArgument("the text has half a surrogate pair, which is no character") from error
        return list(found.ids), list(found.type_ids)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of `ids`; exactly what a Detokenizer gives piece by piece.

        Raises:
            InvalidArgument: An id outside the vocabulary.
        """
        from ziggurat.text.detokenizer import Detokenizer

        detokenizer = Detokenizer(self, skip_special)
        return "".join([detokenizer.push(token) for token in ids]) + detokenizer.finish()

    def token_id(self, text: str | None) -> int | None:
        """The id of a token as the vocabulary spells it, None where there is no such token."""
        return None if text is None else self._ids.get(text)

    def token_bytes(self, token: int) -> bytes:
        """What the token adds in the middle of a text; may be a part of a character."""
        return self.pieces.piece(token)

    def token_text(self, token: int) -> str:
        """`token_bytes` as text, U+FFFD for what is no whole character."""
        return self.pieces.piece(token).decode("utf-8", "replace")

    @cached_property
    def guard(self) -> Guard:
        """Keeps special tokens in what users send from becoming special; see `ChatTemplate.prompt`."""
        from ziggurat.text.guard import Guard

        return Guard(self)

    @cached_property
    def _inner(self) -> tokenizers.Tokenizer:
        return _without_prefix(self._plain)

    def _pieces(self) -> Pieces:
        tokens: list[str | None] = [None] * self.vocab_size
        for text, token in self._ids.items():
            tokens[token] = text
        added = {i: token.content for i, token in self._backend.get_added_tokens_decoder().items()}
        decoder = self._backend.decoder
        return Pieces(tokens, added, None if decoder is None else json.loads(decoder.__getstate__()))


def _plain(backend: tokenizers.Tokenizer, special: frozenset[int]) -> tokenizers.Tokenizer:
    """The same tokenizer, for which special tokens are ordinary text. Shares the vocabulary where it can."""
    import tokenizers

    if type(backend.model).__name__ == "Unigram":
        return _plain_unigram(backend, special)
    plain = tokenizers.Tokenizer(backend.model)
    added = backend.get_added_tokens_decoder()
    ordered = [token for _, token in sorted(added.items())]
    for special_now, run in groupby(ordered, key=lambda token: token.special):
        (plain.add_special_tokens if special_now else plain.add_tokens)(list(run))
    if plain.get_added_tokens_decoder() != added:  # ids with gaps: only the serialised form keeps them
        plain = tokenizers.Tokenizer.from_str(backend.to_str())
    else:
        _copy_parts(backend, plain)
    plain.encode_special_tokens = True
    return plain


def _copy_parts(source: tokenizers.Tokenizer, target: tokenizers.Tokenizer) -> None:
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(source, part)) is not None:
            setattr(target, part, value)


def _without_prefix(plain: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same, without the space that some put before a text. Shares the vocabulary."""
    import tokenizers

    parts: dict[str, Any] = {}
    for part in ("normalizer", "pre_tokenizer"):
        value = getattr(plain, part)
        parts[part] = None if value is None else _unprefixed(json.loads(value.__getstate__()))
    frame = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    made = tokenizers.Tokenizer.from_str(json.dumps(frame | parts))
    made.model = plain.model
    for special, run in groupby(
        [token for _, token in sorted(plain.get_added_tokens_decoder().items())], key=lambda token: token.special
    ):
        (made.add_special_tokens if special else made.add_tokens)(list(run))
    made.encode_special_tokens = True
    return made


def _unprefixed(part: dict[str, Any]) -> dict[str, Any] | None:
    for inner in ("normalizers", "pretokenizers"):
        if inner in part:
            kept = [new for old in part[inner] if (new := _unprefixed(old)) is not None]
            return part | {inner: kept}
    if part["type"] == "Prepend":
        return None
    prefixes = {"add_prefix_space": False, "prepend_scheme": "never"}
    return part | {name: value for name, value in prefixes.items() if name in part}


def _plain_unigram(backend: tokenizers.Tokenizer, special: frozenset[int]) -> tokenizers.Tokenizer:
    """A unigram model would find `</s>` in its own vocabulary, so its special tokens get names no text can have."""
    import tokenizers

    document = json.loads(backend.to_str())
    for token, entry in enumerate(document["model"]["vocab"]):
        if token in special:
            entry[0] = f"\U0010fffd{token}\U0010fffd"
    document["added_tokens"] = [token for token in document["added_tokens"] if not token["special"]]
    return tokenizers.Tokenizer.from_str(json.dumps(document))
