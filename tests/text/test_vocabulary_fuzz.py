"""Vocabulary files that nobody would write: a typed error or a tokenizer that works, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.text import vocabularies
from ziggurat.errors import InvalidModel, ZigguratError
from ziggurat.text import Tokenizer
from ziggurat.text.gguf import PREFIX

SMALL: dict[str, dict[str, Any]] = {
    "gpt2": vocabularies.keys(
        model="gpt2",
        pre="gpt-2",
        tokens=["a", "b", "ab", "<e>"],
        token_type=[1, 1, 1, 3],
        merges=["a b"],
        eos_token_id=3,
    ),
    "llama": vocabularies.keys(
        model="llama", tokens=["<u>", "▁", "a", "▁a"], scores=[0.0, -1.0, -2.0, -3.0], token_type=[2, 1, 1, 1]
    ),
    "t5": vocabularies.keys(model="t5", tokens=["<u>", "▁", "a"], scores=[0.0, -1.0, -2.0], token_type=[2, 1, 1]),
    "bert": vocabularies.keys(
        model="bert",
        tokens=["[UNK]", "▁a", "b"],
        token_type=[2, 1, 1],
        unknown_token_id=0,
        cls_token_id=1,
        bos_token_id=2,
    ),
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**32 - 1, 2**63, float("nan"), float("inf"), b"\xff", b"a", "\udcff"]),
    st.text(max_size=4),
    st.lists(
        st.one_of(st.integers(-1, 300), st.text(max_size=3), st.binary(max_size=2), st.floats(), st.none()), max_size=6
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SMALL)),
    st.dictionaries(
        st.sampled_from(
            """model pre tokens scores token_type merges bos_token_id eos_token_id cls_token_id unknown_token_id
            add_bos_token add_space_prefix precompiled_charsmap remove_extra_whitespaces seperator_token_id
            eot_token_id""".split()  # noqa: SIM905
        ),
        VALUES,
        max_size=3,
    ),
)
def test_gguf(kind: str, changes: dict[str, Any]) -> None:
    metadata = SMALL[kind] | {PREFIX + name: value for name, value in changes.items()}
    try:
        tokenizer = Tokenizer.from_gguf(metadata)
    except ZigguratError:
        return
    ids = tokenizer.encode("a ab b", parse_special=True)
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    tokenizer.decode(ids)


@cache
def document() -> str:
    return Tokenizer.from_gguf(SMALL["llama"])._backend.to_str()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_tokenizer_json(tmp_path: Path, data: st.DataObject) -> None:
    value: Any = json.loads(document())
    parts: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        for key in list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else []:
            parts.append((part, key))
            walk(part[key])

    walk(value)
    part, key = data.draw(st.sampled_from(parts))
    part[key] = data.draw(st.one_of(VALUES.filter(lambda v: not isinstance(v, bytes | list)), st.just([]), st.just({})))
    try:
        text = json.dumps(value)
        text.encode()
    except ValueError:
        return
    (tmp_path / "tokenizer.json").write_text(text[: data.draw(st.integers(len(text) - 3, len(text)))])
    try:
        tokenizer = Tokenizer.from_folder(tmp_path)
        ids = tokenizer.encode("a b", parse_special=True)
    except ZigguratError:
        return
    tokenizer.decode(ids)


def test_a_vocabulary_without_its_unknown_token_is_a_typed_error(tmp_path: Path) -> None:
    value = json.loads(document())
    value["model"] |= {"unk_token": "absent", "byte_fallback": False, "fuse_unk": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(InvalidModel, match="absent"):
        Tokenizer.from_folder(tmp_path).encode("☃")


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, ziggurat.text, ziggurat.text.tokenizer, ziggurat.text.detokenizer, ziggurat.text.templates,"
        " ziggurat.text.grammars, ziggurat.text.tool_formats, ziggurat.text.reasoning\n"
        "print([name for name in ('tokenizers', 'jinja2', 'llguidance', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
