"""Special tokens in what users send are text; only a chat template's own are structure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ziggurat.text.conversation import TAG

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

MARK = "\ufdd0"  # a Unicode noncharacter: it breaks up special tokens in what users send


def _broken(found: re.Match[str]) -> str:
    return found[0][:-1] + MARK + found[0][-1]


class Guard:
    """Keeps special tokens in what users send from becoming special: a mark breaks each up until it is encoded."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        texts = [tokenizer.token_text(token) for token in tokenizer.special_ids]
        longest_first = sorted((re.escape(text) for text in texts if len(text) > 1), key=len, reverse=True)
        self._special = re.compile("|".join(longest_first)) if longest_first else None

    def mark(self, value: Any) -> Any:
        if isinstance(value, str):
            value = value.replace(MARK, "").replace(TAG, "")
            return value if self._special is None else self._special.sub(_broken, value)
        if isinstance(value, Mapping):
            return {key: self.mark(item) for key, item in value.items()}
        return [self.mark(item) for item in value] if isinstance(value, list | tuple) else value

    def encode(self, text: str) -> list[int]:
        def encode(part: str) -> list[int]:
            return self._tokenizer.encode(part, add_special=False, parse_special=True)

        if MARK not in text:
            return encode(text)
        # The mark's own tokens are cut out of the whole, so that the rest is encoded as it would be without.
        mark = encode("a" + MARK)[len(encode("a")) :]
        ids, out, at = encode(text), [], 0
        while at < len(ids):
            if ids[at : at + len(mark)] == mark:
                at += len(mark)
            else:
                out.append(ids[at])
                at += 1
        if MARK in self._tokenizer.decode(out, skip_special=False) or not mark:
            return [token for part in text.split(MARK) for token in encode(part)]
        return out
