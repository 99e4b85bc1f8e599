"""Conversations about words, made from the WordNet database: what the dictionary model is trained on.

WordNet's files are read as wndb(5WN) and cntlist(5WN) describe them. On Debian and Ubuntu they are the package
wordnet-base, in /usr/share/wordnet.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PARTS = ("noun", "verb", "adj", "adv")
# Visitors ask about things: lexicographer files of animals, artefacts, bodies, food, objects, phenomena, plants.
THINGS = frozenset(("05", "06", "08", "13", "17", "19", "20"))

# Known whatever their rank: what visitors of a page try first.
WANTED = frozenset(
    (
        "lighthouse", "robot", "computer", "music", "guitar", "library", "island", "volcano", "dragon", "piano",
        "telescope", "elephant", "whale", "butterfly", "rainbow", "thunder", "glacier", "desert", "pirate", "castle",
        "bicycle", "umbrella", "candle", "honey", "cheese", "chocolate", "coffee",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A word in its most frequent sense."""

    lemma: str
    part: str
    gloss: str
    examples: tuple[str, ...]
    kind: str  # the nearest more general word; empty where there is none

    def answer(self) -> str:
        subject = f"To {self.lemma} means to" if self.part == "verb" else f"The word {self.lemma} means"
        tail = f" It is a kind of {self.kind}." if self.kind else ""
        return f"{subject} {self.gloss}.{tail}"


def _synsets(folder: Path, part: str) -> dict[str, tuple[str, tuple[str, ...], str, str, bool]]:
    """offset -> (gloss, examples, first word, offset of the hypernym, whether it is a thing)."""
    found = {}
    for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields, _, text = line.partition(" | ")
        columns = fields.split()
        words = int(columns[3], 16)
        pointers = columns[5 + 2 * words :]
        hypernym = next((b for a, b in itertools.pairwise(pointers) if a in ("@", "@i")), "")
        gloss = re.split(r"; *\"|: *\"", text)[0].strip().rstrip(";").strip()
        examples = tuple(example for example in re.findall(r'"([^"]+)"', text) if 3 <= len(example.split()) <= 14)
        found[columns[0]] = (gloss, examples, columns[4].replace("_", " "), hypernym, columns[1] in THINGS)
    return found


def _frequencies(folder: Path, glosses: Iterator[str]) -> Counter[str]:
    """How often a word is met: tagged in WordNet's own texts, and used in its definitions."""
    counts: Counter[str] = Counter()
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, _, count = line.split()
        counts[key.partition("%")[0]] += int(count)
    for gloss in glosses:
        counts.update(re.findall(r"[a-z]+", gloss.lower()))
    return counts


def words(folder: Path, limit: int) -> list[Word]:
    """The `limit` most familiar words that have a short definition, most familiar first."""
    synsets = {part: _synsets(folder, part) for part in PARTS}
    counts = _frequencies(folder, (entry[0] for part in synsets.values() for entry in part.values()))
    senses: dict[str, tuple[int, str, str]] = {}  # lemma -> how often its main part of speech is tagged, it, offset
    for part in PARTS:
        for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
            columns = line.split()
            if not line.startswith(" ") and re.fullmatch(r"[a-z]{3,14}", columns[0]):
                count = int(columns[2])
                tagged = int(columns[-count - 1])
                if columns[0] not in senses or tagged > senses[columns[0]][0]:
                    senses[columns[0]] = tagged, part, columns[-count]
    ranked: list[tuple[float, Word]] = []
    for lemma, (tagged, part, offset) in senses.items():
        gloss, examples, _, hypernym, is_thing = synsets[part][offset]
        gloss = re.sub(r"^\([^)]*\) *", "", gloss)
        gloss = gloss if len(gloss) <= 90 else gloss.partition(";")[0]
        if not 10 <= len(gloss) <= 110 or "(" in gloss or not gloss.isascii():
            continue
        kind = synsets[part][hypernym][2] if part == "noun" and hypernym else ""
        kind = kind if kind.islower() and kind not in gloss else ""
        examples = tuple(example for example in examples if lemma[:4] in example.lower())
        familiarity = math.log1p(counts[lemma]) + 0.5 * math.log1p(tagged) + 1.5 * is_thing + 99 * (lemma in WANTED)
        ranked.append((familiarity, Word(lemma, part, gloss, examples[:2], kind)))
    ranked.sort(key=lambda item: (-item[0], item[1].lemma))
    return [word for _, word in ranked[:limit]]


_ASK = (
    "What is {article} {word}?", "What does {word} mean?", "Define {word}.", "What is the meaning of {word}?",
    "{word}", "Tell me about {word}.", "Explain the word {word}.", "what does {word} mean", "what is {article} {word}",
)  # fmt: skip
_ASK_VERB = ("What does it mean to {word}?", "What does {word} mean?", "Define {word}.", "{word}", "to {word}")
_EXAMPLE = ("Give me an example.", "Use it in a sentence.", "Can you use it in a sentence?", "An example?")
_TALK = (
    (("Hello", "Hi", "Hello!", "hi there", "Hey", "Good morning"),
     "Hello! Ask me what a word means, for example: What is a lighthouse?"),
    (("Who are you?", "What are you?", "What can you do?", "Tell me about yourself.", "Help"),
     "I am a small dictionary. I learned the meanings of familiar words from WordNet. Ask me about one of them."),
    (("Thank you", "Thanks", "Thanks!", "Thank you very much."), "You are welcome. Which word shall we look up next?"),
    (("Bye", "Goodbye", "See you"), "Goodbye!"),
)  # fmt: skip

Turn = tuple[str, str]  # what the visitor says, what the dictionary answers


def _turns(word: Word, rng: np.random.Generator) -> list[Turn]:
    templates = _ASK_VERB if word.part == "verb" else _ASK
    template = templates[rng.integers(len(templates))]
    question = template.format(word=word.lemma, article="an" if word.lemma[0] in "aeiou" else "a")
    turns = [(question, word.answer())]
    if word.examples and rng.random() < 0.2:
        example = word.examples[rng.integers(len(word.examples))]
        ask = _EXAMPLE[rng.integers(len(_EXAMPLE))]
        turns.append((ask, f"{example[0].upper()}{example[1:]}{'' if example[-1] in '.!?' else '.'}"))
    return turns


def conversations(lexicon: list[Word], rng: np.random.Generator) -> Iterator[list[Turn]]:
    """One pass over the lexicon in random order: each word once, one to three words in a conversation."""
    order = rng.permutation(len(lexicon))
    at = 0
    while at < len(order):
        turns: list[Turn] = []
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            if rng.random() < 0.03:
                asks, reply = _TALK[rng.integers(len(_TALK))]
                turns.append((asks[rng.integers(len(asks))], reply))
            if at < len(order):
                turns += _turns(lexicon[order[at]], rng)
                at += 1
        yield turns
