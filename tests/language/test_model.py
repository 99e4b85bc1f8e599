"""LanguageModel: what generate says is what forward implies, alone and in company, as text and as ids."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import ziggurat
from tests.formats.architectures.checkpoints import VOCAB, config_of, tensors_of, write_folder, write_gguf
from ziggurat import LanguageModel, TokenEvent
from ziggurat.errors import InvalidArgument, InvalidModel, Unavailable

PROMPTS = [[5, 9, 30], [7] * 20, [88, 3, 60, 41, 7, 7]]


def write_tokenizer(folder: Path, size: int = VOCAB) -> None:
    """Byte-level, without merges: a token is a character; the first three are special."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[: size - 3]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{letter: at for at, letter in enumerate(letters, 3)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_of("llama")
    path = write_folder(tmp_path_factory.mktemp("llama"), config, tensors_of(config))
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[LanguageModel]:
    with ziggurat.load_llm(folder, engine=ziggurat.Engine(threads=1), kv_memory=1 << 20) as model:
        yield model


def tokens(events: Iterator[TokenEvent]) -> list[int | None]:
    return [event.token for event in events]


def greedy(llm: LanguageModel, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(llm.forward(ids)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_generate_says_what_forward_implies(llm: LanguageModel, prompt: list[int]) -> None:
    assert tokens(llm.generate(prompt, max_tokens=12, temperature=0.0, ignore_eos=True)) == greedy(llm, prompt, 12)


def test_a_batch_says_what_each_alone_says(llm: LanguageModel) -> None:
    options = {"max_tokens": 15, "temperature": 0.9, "seed": 7, "ignore_eos": True}
    alone = [tokens(llm.generate(prompt, **options)) for prompt in PROMPTS]
    assert [tokens(events) for events in llm.generate_batch(PROMPTS, **options)] == alone
    backwards = llm.generate_batch(PROMPTS, **options)
    assert [tokens(events) for events in reversed(backwards)] == alone[::-1]


def test_threads_share_the_steps(llm: LanguageModel) -> None:
    options = {"max_tokens": 15, "temperature": 0.0, "ignore_eos": True}
    want = [tokens(llm.generate(prompt, **options)) for prompt in PROMPTS]
    got: dict[int, list[int | None]] = {}

    def ask(at: int) -> None:
        got[at] = tokens(llm.generate(PROMPTS[at % len(PROMPTS)], **options))

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == {at: want[at % len(PROMPTS)] for at in range(9)}


def test_text_is_what_the_tokens_say(llm: LanguageModel) -> None:
    events = list(llm.generate("some text", max_tokens=20, temperature=0.0, ignore_eos=True))
    ids = [event.token for event in events if event.token is not None]
    assert "".join(event.text for event in events) == llm.tokenizer.decode(ids)
    assert [event.finish_reason for event in events] == [None] * 19 + ["length"]
    assert (
        tokens(llm.generate(llm.tokenizer.encode("some text"), max_tokens=20, temperature=0.0, ignore_eos=True)) == ids
    )


def test_a_stop_string_ends_the_text_before_it(llm: LanguageModel) -> None:
    options = {"max_tokens": 30, "temperature": 0.0, "ignore_eos": True}
    text = "".join(event.text for event in llm.generate("some text", **options))
    stop = text[9:12]
    events = list(llm.generate("some text", stop=stop, **options))
    assert "".join(event.text for event in events) == text[: text.index(stop)]
    assert events[-1].finish_reason == "stop"
    kept = "".join(event.text for event in llm.generate("some text", stop=[stop], include_stop=True, **options))
    assert kept == text[: text.index(stop) + len(stop)]
    assert llm.generator.stats()["running"] in (0, 1)  # a cancelled sequence goes before the next step


def test_several_sequences_of_one_prompt(llm: LanguageModel) -> None:
    events = list(llm.generate(PROMPTS[0], n=3, max_tokens=8, temperature=1.0, seed=3, ignore_eos=True, logprobs=2))
    by_index = {at: [event.token for event in events if event.index == at] for at in range(3)}
    assert [len(one) for one in by_index.values()] == [8, 8, 8]
    assert len({tuple(one) for one in by_index.values()}) > 1
    for event in events:
        assert event.logprob is not None and event.logprob <= 0
        assert event.top is not None and len(event.top) == 2


def test_leaving_early_cancels(llm: LanguageModel) -> None:
    before = llm.generator.stats()["kv_blocks_used"]
    events = llm.generate(PROMPTS[1], max_tokens=40, temperature=0.0, ignore_eos=True)
    next(events)
    del events
    list(llm.generate(PROMPTS[0], max_tokens=3, temperature=0.0))
    stats = llm.generator.stats()
    assert stats["running"] + stats["waiting"] == 0
    assert stats["kv_blocks_used"] <= before + 2  # what the prefix cache keeps


@pytest.mark.parametrize(
    ("prompt", "options", "expected"),
    [
        ([], {}, "prompt"),
        ([VOCAB], {}, str(VOCAB)),
        ([-1], {}, "-1"),
        ([1] * 65, {}, "65"),
        ([1], {"temperature": -1.0}, "temperature"),
        ([1], {"temprature": 1.0}, "unknown options temprature"),
        ([1], {"stop": [""]}, "stop"),
    ],
)
def test_requests_that_make_no_sense(llm: LanguageModel, prompt: list[int], options: dict, expected: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidArgument, match=expected):
        llm.generate(prompt, **options)
    with pytest.raises(InvalidArgument, match=expected):
        llm.generate_batch([[1, 2], prompt], **options)
    assert tokens(llm.generate([5], max_tokens=1)) != []


def test_forward_has_a_row_for_each_token(llm: LanguageModel) -> None:
    logits = llm.forward(PROMPTS[1])
    assert (logits.shape, logits.dtype) == ((20, VOCAB), np.float32)
    assert np.array_equal(llm.forward(PROMPTS[1][:4]), logits[:4])


def test_gguf_and_folder_say_the_same(llm: LanguageModel, folder: Path, tmp_path: Path) -> None:
    config = config_of("llama")
    path = write_gguf(tmp_path / "m.gguf", config, tensors_of(config))
    with ziggurat.load_llm(path, engine=llm.model.engine, kv_memory=1 << 20, kv_cache="f32") as other:
        prompt = PROMPTS[2]
        said = tokens(other.generate(prompt, max_tokens=12, temperature=0.0, ignore_eos=True))
        assert said == greedy(other, prompt, 12)
        with pytest.raises(Unavailable, match="give prompts as token ids"):
            other.generate("text")


def test_a_tokenizer_with_more_tokens_than_the_model(tmp_path: Path) -> None:
    config = config_of("llama")
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    write_tokenizer(folder, VOCAB + 20)
    with pytest.raises(InvalidModel, match=f"{VOCAB + 20} tokens, the model only {VOCAB}"):
        ziggurat.load_llm(folder)


def test_a_closed_model_says_so(folder: Path) -> None:
    llm = ziggurat.load_llm(folder, kv_memory=1 << 20)
    llm.close()
    with pytest.raises(Unavailable, match="closed"):
        llm.generate([1])
    with pytest.raises(Unavailable, match="closed"):
        llm.forward([1])
