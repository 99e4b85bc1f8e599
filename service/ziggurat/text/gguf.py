"""The vocabulary inside a GGUF file: checks its `tokenizer.*` keys and builds the `tokenizers` equivalent.

Keys as in the GGUF specification (ggml-org/ggml, docs/gguf.md) and as llama.cpp's converters write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isnan
from numbers import Integral
from typing import Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.text.tokenizer import MAX_TOKENS, Tokenizer

PREFIX = "tokenizer.ggml."
_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
    "sep_token": "seperator_token_id",  # the format's own spelling
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}
# Control tokens that end a turn or a message in published models; files name only one of them as end of sequence.
_ENDS = frozenset(
    """<|eot_id|> <|eom_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> </s> <EOT> _<EOT> <|EOT|>
    <|eot|> <|return|> <|call|> <|end▁of▁sentence|> <|end_of_sentence|>""".split()  # noqa: SIM905
)


class TokenType(IntEnum):
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """The checked contents of a file's tokenizer keys.

    Attributes:
        kind: `tokenizer.ggml.model`.
        tokens: Texts by id, unique.
        types: One per token.
        scores: One per token; empty where the file has none.
        merges: Pairs of tokens, most urgent first; empty where the file has none.
        metadata: Everything, for the flags.
    """

    kind: str
    tokens: list[str]
    types: list[TokenType]
    scores: list[float]
    merges: list[tuple[str, str]]
    metadata: Mapping[str, Any]

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.metadata.get(PREFIX + name, default))

    def role(self, role: str) -> str | None:
        """The text of the token that plays `role`, None where the file names none."""
        token = self.token(_ROLES[role])
        return None if token is None else self.tokens[token]

    def token(self, name: str) -> int | None:
        """The id under a key, None where there is none or the value that converters write for none."""
        value = self.metadata.get(PREFIX + name)
        if value is None or (isinstance(value, Integral) and int(value) in (-1, 0xFFFFFFFF)):
            return None
        if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < len(self.tokens):
            raise InvalidModel(f"{PREFIX}{name} is {value!r:.40}, there are {len(self.tokens)} tokens")
        return int(value)

    def of_type(self, *types: TokenType) -> list[int]:
        return [i for i, kind in enumerate(self.types) if kind in types]


def read_gguf_vocabulary(metadata: Mapping[str, Any]) -> Tokenizer:
    """See Tokenizer.from_gguf."""
    from ziggurat.text import gguf_bpe, gguf_spm, gguf_wordpiece

    builders = {
        "llama": gguf_spm.build_bpe,
        "t5": gguf_spm.build_unigram,
        "gpt2": gguf_bpe.build,
        "bert": gguf_wordpiece.build,
    }
    kind = _string(metadata.get(PREFIX + "model", ""), PREFIX + "model")
    if kind not in builders:
        known = ", ".join(sorted(builders))
        raise Unsupported(f"{PREFIX}model is '{kind}'; vocabularies that are understood: {known}")
    vocabulary = read_vocabulary(metadata, kind)
    try:
        backend = builders[kind](vocabulary)
    except (InvalidModel, Unsupported):
        raise
    except BaseException as error:  # the library raises bare Exception, and panics on some nonsense
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise InvalidModel(f"the file's vocabulary makes no tokenizer: {error}") from error
    special = {role: text for role in _ROLES if (text := vocabulary.role(role)) is not None}
    return Tokenizer(
        backend, special_tokens=special, stop_ids=_stop_ids(vocabulary), chat_templates=_chat_templates(metadata)
    )


def read_vocabulary(metadata: Mapping[str, Any], kind: str) -> Vocabulary:
    """Checks counts, types, texts and merges.

    Raises:
        InvalidModel: Naming the key and the entry that is wrong.
    """
    raw = _array(metadata, "tokens")
    if not raw:
        raise InvalidModel(f"{PREFIX}tokens is missing or empty")
    tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(_strings(raw, "token"))]
    types = _types(metadata, len(tokens))
    if kind in ("llama", "t5"):
        # User-defined tokens are matched in the text as it is, where a space is a space.
        tokens = [
            text.replace("▁", " ") if types[i] is TokenType.USER_DEFINED else text for i, text in enumerate(tokens)
        ]
    ids: dict[str, int] = {}
    for i, text in enumerate(tokens):
        if ids.setdefault(text, i) != i:
            raise InvalidModel(f"tokens {ids[text]} and {i} are both {text!r}")
    return Vocabulary(kind, tokens, types, _scores(metadata, len(tokens)), _merges(metadata, ids), metadata)


def _array(metadata: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = metadata.get(PREFIX + name, ())
    if isinstance(value, str | bytes) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
        raise InvalidModel(f"{PREFIX}{name} is no array")
    if len(value) > 4 * MAX_TOKENS:  # merges are more than tokens
        raise InvalidModel(f"{PREFIX}{name} has {len(value)} entries; {4 * MAX_TOKENS} is the limit")
    return list(value)


def _string(value: Any, what: str) -> str:
    try:
        text = bytes(value).decode("utf-8") if isinstance(value, bytes | bytearray) else value
        if isinstance(text, str):
            text.encode("utf-8")  # lone surrogates are what a lenient reader makes of bytes that are no UTF-8
            return text
    except UnicodeError as error:
        raise InvalidModel(f"{what} is not UTF-8: {error}") from error
    raise InvalidModel(f"{what} is no string but {type(value).__name__}")


def _strings(values: Sequence[Any], what: str) -> list[str]:
    try:
        "".join(values).encode()  # all of them at once, as long as nothing is wrong
        return list(values)
    except (TypeError, UnicodeError):
        return [_string(value, f"{what} {i}") for i, value in enumerate(values)]


def _types(metadata: Mapping[str, Any], count: int) -> list[TokenType]:
    values = _array(metadata, "token_type")
    if not values:
        return [TokenType.NORMAL] * count
    if len(values) != count:
        raise InvalidModel(f"{count} tokens but {len(values)} entries in {PREFIX}token_type")
    try:
        known = {kind.value: kind for kind in TokenType}
        return [known[int(value)] if int(value) else TokenType.NORMAL for value in values]  # 0: undefined
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{PREFIX}token_type has an entry that is no token type: {error}") from error


def _scores(metadata: Mapping[str, Any], count: int) -> list[float]:
    values = _array(metadata, "scores")
    if values and len(values) != count:
        raise InvalidModel(f"{count} tokens but {len(values)} entries in {PREFIX}scores")
    try:
        scores = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise InvalidModel(f"{PREFIX}scores has an entry that is no number: {error}") from error
    if any(map(isnan, scores)):
        raise InvalidModel(f"{PREFIX}scores has an entry that is not a number (NaN)")
    return scores


def _merges(metadata: Mapping[str, Any], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    pairs = []
    for i, text in enumerate(_strings(_array(metadata, "merges"), "merge")):
        cut = text.find(" ", 1)  # a token may be a space, but only its first character
        left, right = text[:cut], text[cut + 1 :]
        if cut < 0 or not right:
            raise InvalidModel(f"merge {i} is {text!r}, not two tokens with a space between")
        if left not in ids or right not in ids or left + right not in ids:
            unknown = next(part for part in (left, right, left + right) if part not in ids)
            raise InvalidModel(f"merge {i} names {unknown!r}, which is no token")
        pairs.append((left, right))
    return pairs


def _stop_ids(vocabulary: Vocabulary) -> list[int]:
    named = [vocabulary.token(name) for name in ("eot_token_id", "eom_token_id")]
    ends = [i for i in vocabulary.of_type(TokenType.CONTROL) if vocabulary.tokens[i] in _ENDS]
    return [token for token in named if token is not None] + ends


def _chat_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for key, value in metadata.items():
        if key == "tokenizer.chat_template":
            found["default"] = _string(value, key)
        elif key.startswith("tokenizer.chat_template."):
            found[key.removeprefix("tokenizer.chat_template.")] = _string(value, key)
    return found
