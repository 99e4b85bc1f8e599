"""Trains the dictionary model and writes this folder: python train.py [--wordnet /usr/share/wordnet] [--epochs 80]

A Llama of 2.4 million parameters learns the conversations of corpus.py with PyTorch on a CPU, in about an hour on one
core. Needs `pip install torch transformers safetensors tokenizers` and Debian's wordnet-base.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import Turn, conversations, words
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE: dict[str, Any] = {
    "vocab_size": 2048, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 5,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 1024,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "bos_token_id": None,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
BATCH_TOKENS = 2048
IGNORED = -100  # a label that costs nothing


def train_tokenizer(texts: Iterator[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"], special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, turns: list[Turn]) -> tuple[list[int], list[int]]:
    """Ids of a conversation in the chat template's form, and labels that count the answers only."""
    ids: list[int] = []
    labels: list[int] = []
    for question, answer in turns:
        asked = tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").ids
        told = tokenizer.encode(f"{answer}<|im_end|>").ids
        end = tokenizer.encode("\n").ids
        ids += asked + told + end
        labels += [IGNORED] * len(asked) + told + [IGNORED] * len(end)
    return ids, labels


def batches(
    examples: list[tuple[list[int], list[int]]], rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Examples of like length together, padded to the longest; batches in random order."""
    order = sorted(rng.permutation(len(examples)), key=lambda i: len(examples[i][0]) // 8)
    groups: list[list[int]] = [[]]
    for i in order:
        longest = max(len(examples[j][0]) for j in [*groups[-1], i])
        if longest * (len(groups[-1]) + 1) > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(int(i))
    for g in rng.permutation(len(groups)):
        width = max(len(examples[i][0]) for i in groups[g])
        ids = torch.zeros(len(groups[g]), width, dtype=torch.long)
        labels = torch.full_like(ids, IGNORED)
        for row, i in enumerate(groups[g]):
            ids[row, : len(examples[i][0])] = torch.tensor(examples[i][0])
            labels[row, : len(examples[i][1])] = torch.tensor(examples[i][1])
        yield ids, labels


def train(model: Any, tokenizer: Tokenizer, lexicon: list[Any], epochs: int, rate: float) -> None:
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        lr=rate, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    rng, step, start = np.random.default_rng(1), 0, time.monotonic()
    for epoch in range(epochs):
        examples = [encode(tokenizer, turns) for turns in conversations(lexicon, rng)]
        planned = list(batches(examples, rng))
        total, count = 0.0, 0
        for at, (ids, labels) in enumerate(planned):
            progress = (epoch + at / len(planned)) / epochs
            warm = min(1.0, (step + 1) / 100)
            cool = 1.0 if progress < 0.3 else 0.5 * (1 + math.cos(math.pi * (progress - 0.3) / 0.7))
            for group in optimizer.param_groups:
                group["lr"] = rate * max(warm * cool, 0.01)
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            wanted = labels[:, 1:]
            keep = wanted != IGNORED  # only answers reach the output projection
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[keep]), wanted[keep])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            total, count = total + loss.item() * int(keep.sum()), count + int(keep.sum())
        seconds = time.monotonic() - start
        print(f"epoch {epoch + 1}: loss {total / count:.3f}, {step} steps, {seconds:.0f} s", flush=True)


def write_files(tokenizer: Tokenizer) -> None:
    tokenizer.save(str(HERE / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE, "model_max_length": SHAPE["max_position_embeddings"],
    }  # fmt: skip
    (HERE / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


GOLDEN = (
    "What is a lighthouse?", "Define music.", "Hello", "what does explain mean", "Tell me about water.", "Who are you?",
)  # fmt: skip


def write_golden(model: Any, tokenizer: Tokenizer) -> None:
    """Greedy continuations in float32 of the weights as they are stored."""
    entries = []
    for question in GOLDEN:
        prompt = tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").ids
        ids = torch.tensor([prompt])
        with torch.no_grad():
            made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)
        tokens = made[0, len(prompt) :].tolist()
        entries.append({"question": question, "prompt": prompt, "tokens": tokens, "text": tokenizer.decode(tokens)})
    (HERE / "golden.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--words", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    lexicon = words(args.wordnet, args.words)
    sample = [text for turns in conversations(lexicon, np.random.default_rng(0)) for turn in turns for text in turn]
    tokenizer = train_tokenizer(iter(sample))
    write_files(tokenizer)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(lexicon)} words", flush=True)
    train(model, tokenizer, lexicon, args.epochs, args.rate)
    model.to(torch.bfloat16).save_pretrained(HERE, safe_serialization=True)
    write_golden(LlamaForCausalLM.from_pretrained(HERE, dtype=torch.float32).eval(), tokenizer)


if __name__ == "__main__":
    main()
