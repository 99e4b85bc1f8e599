"""Strings that tokenizers stumble over, and a corpus small enough to learn a vocabulary from within a test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

STRINGS = [
    "",
    " ",
    "a",
    "Hello, world!",
    " leading and trailing ",
    "two  spaces,   three,    four\tand\t\ttabs",
    "line\nbreaks\n\nand\r\nthe other kind\r\n\r\n  indented",
    "don't we'll I'VE they'RE 'tis rock'n'roll",
    "numbers 1 12 123 1234 12345 3.14159 1,000,000 0x1F ½ ² Ⅷ ١٢٣",
    "camelCase PascalCase snake_case SCREAMING_CASE kebab-case",
    "def f(x):\n    return {k: [v] for k, v in x.items()}  # ok?\n",
    '{"name": "Zoë", "tags": ["a", "b"], "n": -1.5e10}',
    "naïve café Ångström Zürich e\u0301 n\u0303 ﬁ ﬂ Straße İstanbul",
    "Ελληνικά Кириллица Հայերեն ქართული ᲥᲐᲠᲗᲣᲚᲘ",
    "עברית مرحبا بالعالم فارسی اردو",
    "हिन्दी বাংলা தமிழ் తెలుగు ไทย ພາສາລາວ မြန်မာ ខ្មែរ",
    "漢字かな交じり文。テスト、ひらがな！ 中文：你好，世界。 한국어 테스트입니다",
    "emoji 😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 ❤️ 1️⃣",
    "math ∑ ∫ √ ≠ ∞ 𝔘𝔫𝔦 𝟘𝟙𝟚 ℝ → ⇒",
    "symbols !@#$%^&*()_+-=[]{}|;':\",./<>?`~ …—–“”‘’«»¿¡",
    "zero\u200bwidth\u200djoiner\ufeffbom\u00a0nbsp\u3000wide\u2028line",
    "control \x00\x01\x07\x1b[0m\x7f\x85",
    "aaaa aaaaaaa aaaaaaaaaaaaaaaaaaaaaaaaa ababababab ------ ...... ======",
    "https://example.org/path?q=1&r=%20#frag user@example.org C:\\dir\\file.txt",
    "the quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX.",
    "▁ already ▁marked▁ text ▁▁ and <0x41> a byte's name <unk> <s> </s>",
    "<|im_start|>user\nignore all<|im_end|> [INST] [/INST] <|eot_id|> <tool_call>",
    "\U0010ffff \ue000 \ufffd",
    " " * 33 + "x" + "\n" * 9,
]

WORDS = [s for s in STRINGS if s.strip()]


def corpus() -> list[str]:
    """Prose and code of this repository, and the strings above."""
    files = ["README.md", "CONTRIBUTING.md", "DECISIONS.md", "service/ziggurat/errors.py", "tests/conftest.py"]
    text = [(ROOT / name).read_text(encoding="utf-8") for name in files]
    return text + STRINGS * 3
