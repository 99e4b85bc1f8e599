"""Hugging Face folders: the same ids and text as transformers gives, and typed errors for folders that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, processors

from tests.text import vocabularies
from tests.text.samples import STRINGS
from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.text.tokenizer import Tokenizer

MAKERS = {
    "byte-level": vocabularies.byte_level,
    "sentence-piece": vocabularies.sentence_piece,
    "word-piece": vocabularies.word_piece,
    "unigram": vocabularies.unigram,
}


def write(folder: Path, kind: str, **config: Any) -> Path:
    """A folder with a vocabulary of `kind`; `config` goes into tokenizer_config.json."""
    Tokenizer.from_gguf(MAKERS[kind]())._backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | config))
    return folder


def edit(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(document | changes), encoding="utf-8")


@pytest.mark.heavy
@pytest.mark.parametrize("kind", MAKERS)
def test_ids_and_text_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    write(tmp_path, kind, clean_up_tokenization_spaces=False)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    ours = Tokenizer.from_folder(tmp_path)
    for text in STRINGS:
        assert ours.encode(text, parse_special=True) == theirs.encode(text)
        ids = ours.encode(text, add_special=False, parse_special=True)
        assert ids == theirs.encode(text, add_special_tokens=False)
        if kind != "unigram":  # its model finds special tokens in plain text; ours must not
            plain = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
            assert ours.encode(text, add_special=False) == plain
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)


def test_special_tokens_stops_and_templates(tmp_path: Path) -> None:
    write(
        tmp_path,
        "byte-level",
        bos_token={"content": "<|endoftext|>", "lstrip": False},
        eos_token="<|im_end|>",
        chat_template=[{"name": "default", "template": "old"}, {"name": "rag", "template": "r"}],
    )
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1200, 1202]}')
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.special_tokens == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.stop_ids) == (1200, 1202, (1200, 1202))
    assert tokenizer.chat_templates == {"default": "old", "rag": "r"}
    (tmp_path / "chat_template.json").write_text('{"chat_template": "newer"}')
    assert Tokenizer.from_folder(tmp_path).chat_template == "newer"
    (tmp_path / "chat_template.jinja").write_text("newest é", encoding="utf-8")
    assert Tokenizer.from_folder(tmp_path).chat_template == "newest é"


def test_tokens_of_the_configuration_are_added(tmp_path: Path) -> None:
    size = len(vocabularies.byte_level()["tokenizer.ggml.tokens"])
    more = {str(size): {"content": "<|pad|>", "special": True}, str(size + 1): {"content": "<fn>", "special": False}}
    tokenizer = Tokenizer.from_folder(write(tmp_path, "byte-level", pad_token="<|pad|>", added_tokens_decoder=more))
    assert tokenizer.encode("<fn><|pad|>", add_special=False, parse_special=True) == [size + 1, size]
    assert tokenizer.pad_id == size and size in tokenizer.special_ids and tokenizer.vocab_size == size + 2
    write(tmp_path, "byte-level", added_tokens_decoder={str(size + 5): {"content": "<|pad|>", "special": True}})
    with pytest.raises(InvalidModel, match=f"the id {size + 5}, tokenizer.json {size}"):
        Tokenizer.from_folder(tmp_path)


def test_what_stands_around_a_text_is_tokenizer_jsons(tmp_path: Path) -> None:
    flags = {"add_bos_token": True, "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    write(tmp_path, "byte-level", **flags)
    assert Tokenizer.from_folder(tmp_path).encode("a")[0] == 1200
    backend = Tokenizer.from_folder(tmp_path)._backend
    backend.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", 1202)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    ids = Tokenizer.from_folder(tmp_path).encode("a")
    assert ids[-1] == 1202 and ids[0] != 1200


def test_truncation_and_padding_in_the_file_do_not_count(tmp_path: Path) -> None:
    backend = Tokenizer.from_folder(write(tmp_path, "byte-level"))._backend
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(tmp_path / "tokenizer.json"))
    text = "many more than four tokens"
    assert Tokenizer.from_folder(tmp_path).decode(Tokenizer.from_folder(tmp_path).encode(text)) == text


def test_ids_with_gaps_keep_their_places(tmp_path: Path) -> None:
    write(tmp_path, "byte-level")
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document["added_tokens"].append({"id": 1300, "content": "<|far|>"} | flags)
    document["model"]["vocab"]["<|far|>"] = 1300
    edit(tmp_path, **document)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.vocab_size == 1301 and tokenizer.decode([1250]) == ""
    assert tokenizer.encode("<|far|>", add_special=False, parse_special=True) == [1300]
    assert 1300 not in tokenizer.encode("<|far|>", add_special=False)
    assert tokenizer.decode([1300], skip_special=False) == "<|far|>"


def test_an_absurd_id_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "byte-level")
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    document["model"]["vocab"]["far"] = 2**31
    edit(tmp_path, **document)
    with pytest.raises(InvalidModel, match="the id 2147483648; 4194304 is the limit"):
        Tokenizer.from_folder(tmp_path)


def test_an_added_tokens_letters_are_not_bytes() -> None:
    tokenizer = Tokenizer.from_gguf(vocabularies.byte_level())
    tokenizer._backend.add_tokens([AddedToken("é!", normalized=False)])
    assert Tokenizer(tokenizer._backend).decode([tokenizer.vocab_size]) == "é!"


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("tokenizer.json", None, InvalidModel, "has no tokenizer.json"),
        ("tokenizer.json", "{", InvalidModel, "tokenizer.json cannot be understood"),
        ("tokenizer.json", '{"version": "1.0", "model": {"type": "BPE"}}', InvalidModel, "cannot be understood"),
        ("tokenizer.json", b"\xff\xfe\x00", InvalidModel, "tokenizer.json is not UTF-8"),
        ("tokenizer_config.json", "[" * 100_000, InvalidModel, "tokenizer_config.json is not JSON"),
        ("tokenizer_config.json", "[]", InvalidModel, "is not a JSON object"),
        ("tokenizer_config.json", '{"chat_template": 3}', InvalidModel, "neither text nor a list"),
        ("tokenizer_config.json", '{"chat_template": [{"name": "x"}]}', InvalidModel, "needs a name and a template"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', InvalidModel, "added token 'x' has no text"),
    ],
)
def test_bad_folders(tmp_path: Path, file: str, content: str | bytes | None, error: type, message: str) -> None:
    write(tmp_path, "byte-level")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as caught:
        Tokenizer.from_folder(tmp_path)
    assert message in str(caught.value)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(Unsupported, match=r"tokenizer\.model but no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_decoder_that_needs_all_tokens_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "byte-level")
    edit(tmp_path, decoder={"type": "BPEDecoder", "suffix": "</w>"})
    with pytest.raises(Unsupported, match="'BPEDecoder'"):
        Tokenizer.from_folder(tmp_path)
