"""What each token adds to the text, as bytes: the `tokenizers` decoders, taken apart so that they work token by token.

A decoder of that library sees all tokens at once. Every one that language models use is in truth a function of the
token and of whether it is the first, followed by joining; so it is run here once per token, and full and incremental
decoding are the same thing. Bytes that are no UTF-8 become U+FFFD when text is made of them, one per maximal subpart
(the Unicode standard's practice); `tokenizers` gives one per byte after byte fallback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ziggurat.errors import InvalidArgument, Unsupported

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# tokenizers' WordPiece clean-up, in its order.
_CLEAN = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)

Step = Callable[["str | bytes", bool], "str | bytes"]  # (token, is it the first) -> what it became


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes, character to byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(rest)}


_ALPHABET = byte_alphabet()


class Pieces:
    """Token id to bytes. Thread-safe: what is remembered is only ever written with the same value."""

    def __init__(
        self, tokens: Sequence[str | None], added: Mapping[int, str], decoder: Mapping[str, Any] | None
    ) -> None:
        """
        Args:
            tokens: The vocabulary by id; None where an id has no token.
            added: Text of the tokens that were added beside the model, by id.
            decoder: The `decoder` of a tokenizer.json, or None.

        Raises:
            Unsupported: A decoder that cannot be run token by token.
        """
        self._tokens = tokens
        self._added = added
        self._steps: list[Step] = []
        self.leading = b""  # one character that is dropped at the start of a text
        self.leading_count = 0
        self._fused = False
        if decoder is None:
            self._steps.append(lambda token, first: token if first or isinstance(token, bytes) else " " + token)
        else:
            self._add(decoder)
        self._known: list[bytes | None] = [None] * len(tokens)

    def piece(self, token: int, first: bool = False) -> bytes:
        """What `token` adds to a text; `first`: at its very beginning.

        Raises:
            InvalidArgument: No such id.
        """
        if not 0 <= token < len(self._known):
            raise InvalidArgument(f"token {token} is outside the vocabulary of {len(self._known)}")
        if not first and (known := self._known[token]) is not None:
            return known
        made = self._make(token, first)
        if not first:
            self._known[token] = made
        return made

    def _make(self, token: int, first: bool) -> bytes:
        text = self._tokens[token]
        if text is None:
            return b""
        value: str | bytes = text
        for step in self._steps:
            if step is _byte_level and token in self._added:
                continue  # the library would read an added token's letters as bytes where it can
            value = step(value, first)
        return value if isinstance(value, bytes) else value.encode("utf-8", "replace")

    def _add(self, decoder: Mapping[str, Any]) -> None:
        kind = decoder.get("type")
        if kind == "Sequence":
            for inner in decoder["decoders"]:
                self._add(inner)
        elif kind == "Fuse":
            self._fused = True
        elif kind == "Strip" and self._fused and not decoder["stop"]:
            self.leading, self.leading_count = str(decoder["content"]).encode(), int(decoder["start"])
        else:
            self._steps.append(_step(decoder, self._fused))


def _step(decoder: Mapping[str, Any], fused: bool) -> Step:
    kind = decoder.get("type")
    if kind == "ByteLevel":
        return _byte_level
    if kind == "ByteFallback" and not fused:
        return _byte_fallback
    if kind == "Replace" and "String" in decoder["pattern"] and (not fused or len(decoder["pattern"]["String"]) == 1):
        return _replacing(decoder["pattern"]["String"], decoder["content"])
    if kind == "Metaspace":
        return _metaspace(decoder["replacement"], decoder.get("prepend_scheme", "always") != "never")
    if kind == "WordPiece":
        return _word_piece(decoder["prefix"], bool(decoder.get("cleanup")))
    if kind == "Strip" and not fused:
        return _stripping(decoder["content"], int(decoder["start"]), int(decoder["stop"]))
    raise Unsupported(f"the tokenizer's decoder '{kind}' cannot be run token by token")


def _byte_level(token: str | bytes, first: bool) -> str | bytes:
    if isinstance(token, bytes):
        return token
    try:
        return bytes([_ALPHABET[char] for char in token])
    except KeyError:
        return token


def _byte_fallback(token: str | bytes, first: bool) -> str | bytes:
    if isinstance(token, str) and (found := _BYTE.fullmatch(token)):
        return bytes([int(found[1], 16)])
    return token


def _replacing(pattern: str, content: str) -> Step:
    return lambda token, first: token if isinstance(token, bytes) else token.replace(pattern, content)


def _metaspace(replacement: str, prepended: bool) -> Step:
    def step(token: str | bytes, first: bool) -> str | bytes:
        if isinstance(token, bytes):
            return token
        return token.replace(replacement, "" if first and prepended else " ")

    return step


def _word_piece(prefix: str, cleanup: bool) -> Step:
    def step(token: str | bytes, first: bool) -> str | bytes:
        if isinstance(token, bytes):
            return token
        if not first:
            token = token[len(prefix) :] if token.startswith(prefix) else " " + token
        if cleanup:
            for dirty, clean in _CLEAN:
                token = token.replace(dirty, clean)
        return token

    return step


def _stripping(content: str, start: int, stop: int) -> Step:
    def step(token: str | bytes, first: bool) -> str | bytes:
        if isinstance(token, bytes):
            return token
        for _ in range(start):
            token = token.removeprefix(content)
        for _ in range(stop):
            token = token.removesuffix(content)
        return token

    return step
