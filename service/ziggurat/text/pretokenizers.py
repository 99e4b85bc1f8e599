r"""How the byte-level vocabularies in GGUF files cut text into words before merging: `tokenizer.ggml.pre`, by name.

Each entry is a list of regular expressions (Oniguruma syntax, as `tokenizers` runs them). They are applied one after
the other, each to the pieces the former left: matches and what lies between them become pieces. The patterns are those
that the models' own `tokenizer.json` files publish; the names are llama.cpp's, which the files use.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LOWER = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_UPPER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_HAN = r"[一-龥ࠀ-一가-퟿]+"


def _words(letters: str, digits: str, marks: str = r" ?[^\s\p{L}\p{N}]+[\r\n]*", spaces: str = _SPACES) -> str:
    """The cl100k family: contractions, words with one leading sign, numbers, runs of signs, spaces."""
    return rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}|{marks}|{spaces}"


def _cased(digits: str, contraction: str = "", upper: str = _UPPER, lower: str = _LOWER, head: str = "") -> str:
    """The o200k family: a word ends where lower case meets upper case."""
    start, end = r"[^\r\n\p{L}\p{N}]?", contraction and f"{contraction}?"
    marks = r" ?[^\s\p{L}\p{N}]+[\r\n]*" if head else r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
    words = f"{start}[{upper}]*[{lower}]+{end}|{start}[{upper}]+[{lower}]*{end}"
    return f"{head}{words}|{digits}|{marks}|{_SPACES}"


_LLAMA3 = _words(r"\p{L}+", r"\p{N}{1,3}")
_QWEN2 = _words(r"\p{L}+", r"\p{N}")
_PUNCTUATED = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)
# Cased letters as of the Unicode version the format was written for: without Georgian's and mathematics' later ones.
_CASED_LETTERS = r"[\p{Lu}\p{Ll}\p{Lt}&&[^ა-ჿ\x{1D400}-\x{1D7CB}]]"


@dataclass(frozen=True)
class PreTokenizer:
    """Regular expressions, and two habits that llama.cpp ties to the name.

    Attributes:
        patterns: Applied in order.
        whole_words: A word that is a token itself is taken without merging.
        bos: Text begins with the beginning-of-sequence token unless the file says otherwise.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    bos: bool = False


_LLAMA3_LIKE = PreTokenizer((_LLAMA3,))
_GPT2_LIKE = PreTokenizer((_GPT2,))
_QWEN2_LIKE = PreTokenizer((_QWEN2,))
_DIGITS_APART = PreTokenizer((r"\p{N}", _GPT2))
_DEEPSEEK3 = PreTokenizer((r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", _PUNCTUATED))
_GPT4O = PreTokenizer((_cased(r"\p{N}{1,3}", _CONTRACTION),))
_BAILING = PreTokenizer(
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]|\s+(?!\S)|\s+",
    )
)
_KIMI = PreTokenizer(
    (
        _cased(
            r"\p{N}{1,3}",
            _CONTRACTION,
            upper=rf"{_UPPER}&&[^\p{{Han}}]",
            lower=rf"{_LOWER}&&[^\p{{Han}}]",
            head=r"[\p{Han}]+|",
        ),
    )
)
_FINNISH = r" ?[^(\s|.,!?…。，、।۔،)]+"

_GROUPS: dict[str, PreTokenizer] = {
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": PreTokenizer(
        (_LLAMA3,), whole_words=True, bos=True
    ),
    "dbrx smaug-bpe glm4 chatglm-bpe": _LLAMA3_LIKE,
    "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum "
    "modern-bert mpt olmo jais trillion granite-docling exaone4": _GPT2_LIKE,
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2": _QWEN2_LIKE,
    "qwen35": PreTokenizer((_words(r"[\p{L}\p{M}]+", r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"),)),
    "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2": _DIGITS_APART,
    "deepseek-llm": PreTokenizer(
        (r"[\r\n]", rf"\s?{_CASED_LETTERS}+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _HAN, r"\p{N}+")
    ),
    "deepseek-coder": PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN, r"\p{N}")),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": _DEEPSEEK3,
    "falcon": PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")),
    "tekken": PreTokenizer((_cased(r"\p{N}"),), whole_words=True, bos=True),
    "gpt-4o llama4 kanana2 talkie minimax-m2": _GPT4O,
    "kimi-k2": _KIMI,
    "bailingmoe bailingmoe2 llada-moe": _BAILING,
    "seed-coder": PreTokenizer((_words(r"\p{L}+", r"\p{N}", r" ?[^\s\p{L}\p{N}\r\n]+"),)),
    "superbpe": PreTokenizer((r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    "poro-chat bloom gpt3-finnish": PreTokenizer((_FINNISH,)),
    "viking": PreTokenizer((_FINNISH, r"\p{N}")),
}

PRE_TOKENIZERS: dict[str, PreTokenizer] = {name: entry for names, entry in _GROUPS.items() for name in names.split()}
