"""Deltas put together are the message, for every way to cut the text; and each format by example."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.chat_templates import CHATML, GEMMA, LLAMA3, MISTRAL
from ziggurat.errors import NotFound
from ziggurat.text import AssistantMessage, ChatTemplate, Delta, ToolCall, ToolParser
from ziggurat.text.tool_formats import FORMATS

ARGUMENTS = '{"city": "Zürich \\"{[]}\\\\", "nested": {"a": [{"b": {}}, "}"]}, "e": "😀\\u00e9", "n": -1.5e3}'
OTHER = '{"q": "</tool_call> <tool_call> [TOOL_CALLS] ; <|python_tag|>"}'


def numbered() -> Callable[[], str]:
    count = itertools.count()
    return lambda: f"id{next(count)}"


def parse(name: str, parts: Iterable[str]) -> AssistantMessage:
    parser = ToolParser.named(name, numbered())
    deltas: list[Delta] = []
    for part in parts:
        deltas += parser.push(part)
    deltas += parser.finish()
    for delta in deltas:
        assert bool(delta.content) + bool(delta.reasoning) + (delta.call is not None) == 1, "a delta is one thing"
    return AssistantMessage.of(deltas)


def message(content: str, *calls: tuple[str, str]) -> AssistantMessage:
    return AssistantMessage(content, "", [ToolCall(f"id{i}", name, text) for i, (name, text) in enumerate(calls)])


TRANSCRIPTS: dict[str, list[tuple[str, AssistantMessage]]] = {
    "hermes": [
        ("Just text with < and <tool and { braces }.\n", message("Just text with < and <tool and { braces }.\n")),
        (
            f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>',
            message("", ("weather", ARGUMENTS)),
        ),
        (
            f'Let me look.\n\n<tool_call>\n{{"name": "a", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
            f'<tool_call>{{"arguments": {OTHER}, "name": "b"}}</tool_call>\n Done. ',
            message("Let me look.Done. ", ("a", ARGUMENTS), ("b", OTHER)),
        ),
        ('<tool_call>{"name": "f"}</tool_call>', message("", ("f", "{}"))),
        ('<tool_call>{"name": "f", "arguments": null}</tool_call>', message("", ("f", "{}"))),
        ('<tool_call>{"name": "f", "arguments": {}, "x": [1, "}"]} </tool_call>', message("", ("f", "{}"))),
        (
            '<tool_call>{"name": "f", "arguments": "{\\"a\\": \\"\\u00e9\\ud83d\\ude00\\n\\"}"}</tool_call>',
            message("", ("f", '{"a": "é😀\n"}')),
        ),
        ('<tool_call>{"name": "f", "arguments": "\\ud83d"}</tool_call>', message("", ("f", "\ufffd"))),
        ('<tool_call>{"name": "f", "arguments": "\\ud83d\\n\\u12"}</tool_call>', message("", ("f", "\ufffd\n\\u12"))),
        ('<tool_call>{"name": "n\\u00fc", "arguments": {}}</tool_call>', message("", ("nü", "{}"))),
        ('<tool_call>{"name": "f", "arguments": {"a": "x', message("", ("f", '{"a": "x'))),
        ('<tool_call>{"name": "f', message('<tool_call>{"name": "f')),
        ("<tool_call>\n hello </tool_call>", message("<tool_call>\n hello </tool_call>")),
        ('<tool_call>{"name": 3, "arguments": {}}', message('<tool_call>{"name": 3, "arguments": {}}')),
        ('<tool_call>{"arguments": {"a": 1}}</tool_call>', message('<tool_call>{"arguments": {"a": 1}}</tool_call>')),
        ('<tool_call>{"name" "f"}', message('<tool_call>{"name" "f"}')),
        ('<tool_call>{"name": ""}x', message('<tool_call>{"name": ""}x')),
        (
            '<tool_call>{"name": "f", "arguments": {}}<tool_call>{"name": "g", "arguments": {}}</tool_call>',
            message("", ("f", "{}"), ("g", "{}")),
        ),
        ('<tool_call>{"name": "f", "arguments": {} oops', message("oops", ("f", "{}"))),
        ("a </tool_call> b <tool_ca", message("a </tool_call> b <tool_ca")),
        ("", message("")),
        (" \n", message(" \n")),
    ],
    "llama3": [
        (f'{{"name": "weather", "parameters": {ARGUMENTS}}}', message("", ("weather", ARGUMENTS))),
        (f'<|python_tag|>{{"type": "function", "name": "w", "parameters": {OTHER}}}', message("", ("w", OTHER))),
        (
            f'\n{{"name": "a", "parameters": {ARGUMENTS}}}; {{"parameters": {OTHER}, "name": "b"}}',
            message("", ("a", ARGUMENTS), ("b", OTHER)),
        ),
        (f'Sure. <|python_tag|>{{"name": "a", "arguments": {OTHER}}} ok', message("Sure.ok", ("a", OTHER))),
        ('{"name": "Bob", "age": 5}', message('{"name": "Bob", "age": 5}')),
        ('{"name": "Bob", "parameters": 5} x', message('{"name": "Bob", "parameters": 5} x')),
        ('{"answer": [1, {"a": "}"}]}', message('{"answer": [1, {"a": "}"}]}')),
        ("{not json} at all", message("{not json} at all")),
        (' hello {"name": "f", "parameters": {}}', message(' hello {"name": "f", "parameters": {}}')),
        ('<|python_tag|>search.call(query="x")', message('<|python_tag|>search.call(query="x")')),
        ('{"name": "f", "parameters": {"a": [1,', message("", ("f", '{"a": [1,'))),
        ('{"name": "f", "parameters": {}}; and', message("; and", ("f", "{}"))),
        ('{"name": "f", "par', message('{"name": "f", "par')),
        ("{", message("{")),
    ],
    "mistral": [
        (
            f'[TOOL_CALLS] [{{"name": "a", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}, '
            f'{{"id": "1", "arguments": {OTHER}, "name": "b"}}]',
            message("", ("a", ARGUMENTS), ("b", OTHER)),
        ),
        (f"[TOOL_CALLS]weather[ARGS]{ARGUMENTS}", message("", ("weather", ARGUMENTS))),
        (
            f"Looking. [TOOL_CALLS]a[ARGS]{ARGUMENTS}[TOOL_CALLS]b[CALL_ID]abc123def[ARGS] {OTHER}",
            message("Looking.", ("a", ARGUMENTS), ("b", OTHER)),
        ),
        ('[TOOL_CALLS]f{"a": 1}', message("", ("f", '{"a": 1}'))),
        ('[TOOL_CALLS]{"name": "f", "arguments": {}}', message("", ("f", "{}"))),
        ('[TOOL_CALLS][{"name": "f", "arguments": {}}] And so on', message("And so on", ("f", "{}"))),
        ("[TOOL_CALLS] what [is] this", message("[TOOL_CALLS] what [is] this")),
        ("[TOOL_CALLS]f[ARGS]none", message("[TOOL_CALLS]f[ARGS]none")),
        ("[TOOL_CALLS]two words[ARGS]{}", message("[TOOL_CALLS]two words[ARGS]{}")),
        ("[TOOL_CALLS][1, 2]", message("[TOOL_CALLS][1, 2]")),
        ('[TOOL_CALLS][{"nom": 1}, 2]', message('[TOOL_CALLS][{"nom": 1}, 2]')),
        ('[TOOL_CALLS]f[ARGS]{"a": "b]', message("", ("f", '{"a": "b]'))),
        ("[TOOL_CALLS]f[AR", message("[TOOL_CALLS]f[AR")),
        ("[TOOL", message("[TOOL")),
        ("[INST] plain [/INST]", message("[INST] plain [/INST]")),
    ],
}
CASES = [(name, text, expected) for name, cases in TRANSCRIPTS.items() for text, expected in cases]


@pytest.mark.parametrize(("name", "text", "expected"), CASES)
def test_every_cut_gives_the_same_message(name: str, text: str, expected: AssistantMessage) -> None:
    assert parse(name, [text]) == expected
    assert parse(name, text) == expected, "character by character"
    for cut in range(1, len(text)):
        assert parse(name, [text[:cut], text[cut:]]) == expected, f"cut at {cut}"


FRAGMENTS = st.sampled_from(
    [
        *["<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[", "]", "{", "}"],
        *['{"name": "f", "arguments": {"a": "b"}}', '{"name": "f", "parameters": {}}', '"name"', '"arguments"', ":"],
        *[
            '"',
            "\\",
            "\\u00e9",
            "\\ud83d",
            " ",
            "\n",
            "text",
            "é😀",
            "null",
            "f",
            "{}",
            "[]",
            "1.5",
            "<",
            "\x00",
            ",",
            ";",
        ],
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(FRAGMENTS, max_size=14), st.lists(st.integers(0, 120), max_size=6))
def test_any_text_in_any_parts(name: str, fragments: list[str], cuts: list[int]) -> None:
    text = "".join(fragments)
    edges = sorted({0, len(text), *[cut for cut in cuts if cut < len(text)]})
    whole = parse(name, [text])
    assert parse(name, [text[a:b] for a, b in itertools.pairwise(edges)]) == whole
    assert parse(name, text) == whole
    if not whole.calls:
        assert whole.content == text, "text that is no call stays as it is"


STRINGS = st.text(st.sampled_from('a"\\{}[],:<>/ \n\t\x00é😀\u2028\ufffd'), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(FORMATS)),
    STRINGS
    | st.lists(STRINGS | st.floats(allow_nan=False), max_size=3)
    | st.dictionaries(STRINGS, STRINGS, max_size=3),
    st.booleans(),
    st.integers(1, 40),
)
def test_what_the_templates_write_is_read_back(name: str, value: object, escape: bool, size: int) -> None:
    """Arguments come back letter by letter, whatever strings they hold."""
    arguments = json.dumps({"value": value}, ensure_ascii=escape)
    written = {
        "hermes": f'<tool_call>\n{{"name": "f", "arguments": {arguments}}}\n</tool_call>',
        "llama3": f'{{"name": "f", "parameters": {arguments}}}',
        "mistral": f'[TOOL_CALLS] [{{"name": "f", "arguments": {arguments}, "id": "123456789"}}]',
    }[name]
    parts = [written[i : i + size] for i in range(0, len(written), size)]
    assert parse(name, parts) == message("", ("f", arguments))


@pytest.mark.parametrize(
    ("source", "name", "start", "end"),
    [
        (CHATML, "hermes", "<|im_start|>assistant\n", "<|im_end|>"),
        (LLAMA3, "llama3", "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        (MISTRAL, "mistral", "[/INST]", "</s>"),
    ],
)
def test_calls_that_a_template_renders_are_parsed(source: str, name: str, start: str, end: str) -> None:
    function = {"name": "weather", "arguments": {"city": "Zürich", "days": [1, {"x": "}"}]}}
    calls = [{"id": "abcdefghi", "type": "function", "function": function}]
    user = {"role": "user", "content": "Hi"}
    text = ChatTemplate(source, "<s>", "</s>").render(
        [user, {"role": "assistant", "content": "", "tool_calls": calls}], add_generation_prompt=False
    )
    said = text[text.rindex(start) + len(start) : text.rindex(end)]
    found = parse(name, said)
    assert [(call.name, json.loads(call.arguments)) for call in found.calls] == [
        (function["name"], function["arguments"])
    ]
    assert found.content == ""


def test_the_format_is_known_by_the_template() -> None:
    for source, name in ((CHATML, "hermes"), (MISTRAL, "mistral"), (LLAMA3 + "{# <|python_tag|> #}", "llama3")):
        found = ToolParser.for_template(source)
        assert found is not None and found.name == name
    assert ToolParser.for_template(GEMMA) is None
    with pytest.raises(NotFound, match="no tool call format 'x'; there are mistral, llama3, hermes"):
        ToolParser.named("x")


def test_ids_look_as_the_formats_want_them() -> None:
    def first_id(name: str, text: str) -> str:
        parser = ToolParser.named(name)
        return AssistantMessage.of(parser.push(text) + parser.finish()).calls[0].id

    call = first_id("hermes", '<tool_call>{"name": "f"}')
    assert call.startswith("call_") and len(call) == 29
    short = first_id("mistral", "[TOOL_CALLS]f[ARGS]{}")
    assert len(short) == 9 and short.isalnum()


def test_a_call_is_told_before_its_arguments_end() -> None:
    parser = ToolParser.named("hermes", numbered())
    assert parser.push('<tool_call>{"name": "f", ') == []
    head, *rest = parser.push('"arguments": {"a": 1')
    assert head.call is not None and (head.call.id, head.call.name, head.call.arguments) == ("id0", "f", "")
    assert [delta.call and delta.call.arguments for delta in rest] == ['{"a": 1']
    assert [delta.call and delta.call.arguments for delta in parser.push("2")] == ["2"]
