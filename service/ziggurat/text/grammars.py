"""Text that is held to a form: which tokens may come next, as bit masks.

Grammars run on llguidance. Whatever it cannot enforce, in full, is refused before the first token.
"""

from __future__ import annotations

import json as json_text
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument
from ziggurat.text.call_forms import CallForm, terminal
from ziggurat.text.schema_rules import check_schema, tightened

if TYPE_CHECKING:
    import llguidance
    import numpy as np
    from numpy.typing import NDArray

    from ziggurat.text.tokenizer import Tokenizer

MAX_TEXT = 256 << 10  # characters of a grammar
MAX_CHOICES = 10_000
CACHED = 64  # compiled grammars that are kept
# Models like to lose themselves in white space; this is room for a line break and eight levels of four.
WHITESPACE = r"[\x20\x0A\x0D\x09]{0,33}"
# Without \u escapes each string is written in one way only, so that no name of a property can hide as another.
JSON_OPTIONS: Any = {
    "whitespace_pattern": WHITESPACE,
    "json_allowed_escapes": '"\\bfnrt',
    "lenient": False,
    "coerce_one_of": False,
}
_ABSENT: Any = object()


class Constraint:
    """The state of one sequence. One thread at a time; different ones may work at once.

    A mask row is `ceil(vocab / 32)` words of 32 bits: bit `i % 32` of word `i // 32` is set where token i may come.
    Once the form is complete only tokens that end the generation may.
    """

    def __init__(self, matcher: llguidance.LLMatcher, words: int) -> None:
        self.matcher = matcher
        self._words = words

    def mask_into(self, row: NDArray[np.uint32]) -> None:
        """Fills `row` (uint32 or int32, contiguous, of the vocabulary's words) for the next token; drops the GIL.

        Raises:
            InvalidArgument: Another shape, or a grammar that turns out to be too complex to go on with.
        """
        if row.shape != (self._words,) or row.itemsize != 4 or not row.flags.c_contiguous or not row.flags.writeable:
            raise InvalidArgument(f"a mask is a writable row of {self._words} words of 32 bits")
        self.matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        self._check()

    def accept(self, token: int) -> None:
        """Takes the token that was chosen.

        Raises:
            InvalidArgument: The form does not allow it here.
        """
        if not self.matcher.consume_token(token):
            self._check(f"token {token} is not allowed here")
            raise InvalidArgument(f"token {token} is not allowed here")

    def is_done(self) -> bool:
        """The form is complete and nothing can follow but the end."""
        return bool(self.matcher.is_stopped())

    def is_accepting(self) -> bool:
        """The text so far is a whole one, though it may go on."""
        return bool(self.matcher.is_accepting())

    def copy(self) -> Constraint:
        """The same state, for another sequence."""
        return Constraint(self.matcher.deep_copy(), self._words)

    def _check(self, what: str = "the grammar cannot be followed any further") -> None:
        if self.matcher.is_error():
            raise InvalidArgument(f"{what}: {_first_line(self.matcher.get_error())}")


class Grammars:
    """Compiles forms for one vocabulary, and remembers the recent ones. Thread-safe; slow work drops the GIL."""

    def __init__(self, tokenizer: Tokenizer, threads: int = 1) -> None:
        """
        Args:
            tokenizer: Whose tokens; `fit` to the model before.
            threads: How many compute masks at once in `fill`.
        """
        self._tokenizer = tokenizer
        self._threads = threads
        self._lock = threading.Lock()
        self._library: llguidance.LLTokenizer | None = None
        self._executor: llguidance.LLExecutor | None = None
        self._known: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()
        self.words = (tokenizer.vocab_size + 31) // 32

    def compile(
        self,
        *,
        json: Any = _ABSENT,
        json_object: Any = _ABSENT,
        regex: str = _ABSENT,
        grammar: str = _ABSENT,
        choice: Sequence[str] = _ABSENT,
        tools: CallForm = _ABSENT,
        after: str | None = None,
    ) -> Constraint:
        """One form, by keyword.

        Args:
            json: A JSON schema: an object, True, or its text.
            json_object: Any JSON object (the value does not matter).
            regex: The whole text matches it (Rust's `regex` syntax, without look-around and back-references).
            grammar: Lark, or llama.cpp's GBNF.
            choice: One of these strings.
            tools: Calls of given functions (`call_forms.CallForm`).
            after: The form begins after this mark ("</think>"), before which any text may stand.

        Raises:
            InvalidArgument: Not exactly one form, or one that is wrong or cannot be enforced; the message says what.
        """
        forms = {"json": json, "json_object": json_object, "regex": regex, "grammar": grammar, "choice": choice}
        forms["tools"] = tools
        given = {name: value for name, value in forms.items() if value is not _ABSENT}
        if len(given) != 1:
            raise InvalidArgument("one form at a time: json, json_object, regex, grammar, choice or tools")
        ((name, value),) = given.items()
        source = value.grammar(self._tokenizer) if name == "tools" else _SOURCES[name](value)
        return self._constraint(source if after is None else self._following(after, source), name)

    def fill(self, constraints: Sequence[tuple[Constraint, int]], masks: NDArray[np.uint32]) -> None:
        """Masks of several sequences at once, each into its row of `masks` [rows, words]; drops the GIL.

        Raises:
            InvalidArgument: As `mask_into`.
        """
        if masks.ndim != 2 or masks.shape[1] != self.words or masks.itemsize != 4 or not masks.flags.c_contiguous:
            raise InvalidArgument(f"masks are contiguous rows of {self.words} words of 32 bits")
        if any(not 0 <= row < masks.shape[0] for _, row in constraints):
            raise InvalidArgument(f"a row is outside the {masks.shape[0]} masks")
        pairs = [(constraint.matcher, row) for constraint, row in constraints]
        self._parallel().unsafe_compute_mask_ptr(pairs, masks.ctypes.data, self.words * 4, masks.shape[0])
        for constraint, _ in constraints:
            constraint._check()

    def _following(self, mark: str, source: str) -> str:
        """The grammar `source` after any text up to `mark`, with some white space between."""
        body = json_text.loads(source)["grammars"][0] if source.startswith("{") else {"lark_grammar": source}
        end = terminal(mark, self._tokenizer)
        before = f"before: /(.|\\n)*/ {end}" if end.startswith("<[") else f"before[lazy]: /(.|\\n)*/ {end}"
        lark = f"%llguidance {{}}\nstart: before SPACE @body\n{before}\nSPACE: /[ \\n]{{0,8}}/\n"
        main = {"name": "main", "lark_grammar": lark}
        return json_text.dumps({"grammars": [main, {**body, "name": "body"}]})

    def _constraint(self, source: str, name: str) -> Constraint:
        import llguidance

        with self._lock:
            known = self._known.get(source)
            if known is not None:
                self._known.move_to_end(source)
                return Constraint(known.deep_copy(), self.words)
        library = self._vocabulary()
        limits = llguidance.LLParserLimits(verbose_errors=False)
        wrong, said = llguidance.LLMatcher.validate_grammar_with_warnings(source, library, limits=limits)
        if wrong or said:
            raise InvalidArgument(f"{_NAMES[name]} cannot be enforced: {_first_line(said[0])}")
        matcher = llguidance.LLMatcher(library, source, log_level=0, limits=limits)
        first = matcher.deep_copy()
        if not matcher.is_error() and not any(first.compute_bitmask()) and not first.is_error():
            raise InvalidArgument(f"{_NAMES[name]} allows no text at all")
        if first.is_error():  # also what is only noticed when the first token is asked for, such as endless recursion
            raise InvalidArgument(f"{_NAMES[name]} cannot be enforced: {_first_line(first.get_error())}")
        with self._lock:
            self._known[source] = matcher.deep_copy()
            while len(self._known) > CACHED:
                self._known.popitem(last=False)
        return Constraint(matcher, self.words)

    def _vocabulary(self) -> llguidance.LLTokenizer:
        """Made on first use: a trie of all tokens, half a second for the largest vocabularies."""
        import llguidance

        with self._lock:
            if self._library is None:
                stops = list(self._tokenizer.stop_ids)
                if not stops:
                    raise InvalidArgument("the model has no token that ends a text, so no form can be complete")
                wrapper = llguidance.TokenizerWrapper(_Vocabulary(self._tokenizer))
                slices = llguidance.LLTokenizer.json_slices()
                size = self._tokenizer.vocab_size
                self._library = llguidance.LLTokenizer(wrapper, n_vocab=size, eos_token=stops, slices=slices)
            return self._library

    def _parallel(self) -> llguidance.LLExecutor:
        import llguidance

        with self._lock:
            if self._executor is None:
                self._executor = llguidance.LLExecutor(self._threads)
            return self._executor


class _Vocabulary:
    """What the library wants to know about a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.stop_ids[0]
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self._ids = {data: i for i, data in reversed(list(enumerate(self.tokens))) if i not in tokenizer.special_ids}
        self._longest = max(map(len, self._ids), default=0)

    def __call__(self, text: str | bytes) -> list[int]:
        """How the model would write `text`. Where bytes are forced, the mask has just these tokens."""
        data = text if isinstance(text, bytes) else text.encode()
        try:
            ids = self._tokenizer.encode_inner(data.decode())
        except UnicodeDecodeError:
            ids = []
        return ids if b"".join(self.tokens[i] for i in ids) == data else self._greedily(data)

    def _greedily(self, data: bytes) -> list[int]:
        """The longest token at each place; a tokenizer that normalises would write something else."""
        ids: list[int] = []
        at = 0
        while at < len(data):
            size = next((n for n in range(self._longest, 0, -1) if data[at : at + n] in self._ids), 0)
            if not size:
                return ids  # bytes that no token has: the grammar cannot go on there
            ids.append(self._ids[data[at : at + size]])
            at += size
        return ids


def json_grammar(schema: Any) -> str:
    """Raises InvalidArgument for what is no schema or cannot be enforced."""
    import llguidance

    if isinstance(schema, str):
        try:
            schema = json_text.loads(schema[: MAX_TEXT + 1])
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"the JSON schema is not JSON: {error}") from error
    check_schema(schema)
    try:
        whole = tightened(schema) if isinstance(schema, dict) else {} if schema else {"enum": []}
        text = json_text.dumps(whole, allow_nan=False)
        _check_length(text, "the JSON schema")
        return llguidance.LLMatcher.grammar_from_json_schema(text, overrides=JSON_OPTIONS)
    except (TypeError, RecursionError) as error:
        raise InvalidArgument(f"the JSON schema is not JSON: {error}") from error
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(f"the JSON schema is not JSON: {error}") from error


def _object_grammar(_: Any) -> str:
    return json_grammar({"type": "object"})


def _regex_grammar(pattern: Any) -> str:
    import llguidance

    return llguidance.LLMatcher.grammar_from_regex(_check_length(pattern, "the regular expression"))


def _free_grammar(text: Any) -> str:
    import llguidance

    try:
        return llguidance.grammar_from("grammar", _check_length(text, "the grammar"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the grammar cannot be read: {_first_line(str(error))}") from error


def _choice_grammar(choices: Any) -> str:
    import llguidance

    if not isinstance(choices, list | tuple) or not choices or not all(isinstance(c, str) and c for c in choices):
        raise InvalidArgument("choice is a list of strings, none of them empty")
    if len(choices) > MAX_CHOICES or sum(map(len, choices)) > MAX_TEXT:
        raise InvalidArgument(f"choice has more than {MAX_CHOICES} strings or {MAX_TEXT} characters")
    return llguidance.grammar_from("choice", json_text.dumps(list(choices)))


def _check_length(text: Any, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise InvalidArgument(f"{what} is empty or no text")
    if len(text) > MAX_TEXT:
        raise InvalidArgument(f"{what} has more than {MAX_TEXT} characters")
    return text


def _first_line(text: str) -> str:
    return " ".join(text.partition("<state>")[0].split())[:500]


_SOURCES = {
    "json": json_grammar,
    "json_object": _object_grammar,
    "regex": _regex_grammar,
    "grammar": _free_grammar,
    "choice": _choice_grammar,
}
_NAMES = {
    "json": "the JSON schema",
    "json_object": "a JSON object",
    "regex": "the regular expression",
    "grammar": "the grammar",
    "choice": "the choice",
    "tools": "the tools' parameters",
}
