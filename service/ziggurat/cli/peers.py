"""What other engines say to the same input: only for `ziggurat verify`, and only where the user has them installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ziggurat.errors import InvalidArgument, Unsupported

Array = np.ndarray[Any, Any]


def onnxruntime_outputs(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """All outputs of an ONNX model, by name."""
    runtime = _package("onnxruntime", "onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def transformers_logits(path: Path, ids: Sequence[int]) -> Array:
    """Logits [tokens, vocab] in float32, of a folder or a GGUF file."""
    torch, transformers = _package("torch", "torch"), _package("transformers", "transformers")
    place, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    model = transformers.AutoModelForCausalLM.from_pretrained(str(place), dtype=torch.float32, **options).eval()
    with torch.no_grad():
        logits: Array = model(torch.tensor([list(ids)])).logits[0].float().numpy()
    return logits


def llama_cpp_logits(path: Path, ids: Sequence[int]) -> Array:
    """Logits [tokens, vocab] of a GGUF file."""
    if path.is_dir():
        raise InvalidArgument("llama.cpp reads GGUF files; give one instead of a folder")
    llama_cpp = _package("llama_cpp", "llama-cpp-python")
    try:
        # By itself it would keep keys and values in float16, which is a difference of its own.
        cache = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        model = llama_cpp.Llama(str(path), n_ctx=max(len(ids), 32), logits_all=True, verbose=False, **cache)
    except ValueError as error:
        raise Unsupported(f"llama.cpp does not load this file: {error}") from None
    model.eval(list(ids))
    logits: Array = np.array(model.scores[: len(ids)], np.float32)
    return logits


def transformers_scores(path: Path, pairs: Sequence[tuple[str, str]]) -> Array:
    """A cross-encoder's scores [pairs, labels]."""
    torch, transformers = _package("torch", "torch"), _package("transformers", "transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(path), dtype=torch.float32).eval()
    with torch.no_grad():
        rows = [model(**tokenizer(*pair, return_tensors="pt", truncation=True)).logits[0] for pair in pairs]
    scores: Array = torch.stack(rows).numpy()
    return scores


def sentence_embeddings(path: Path, texts: Sequence[str]) -> Array:
    """Embeddings [texts, dimensions] as sentence-transformers gives them."""
    library = _package("sentence_transformers", "sentence-transformers")
    embeddings: Array = library.SentenceTransformer(str(path), device="cpu").encode(list(texts))
    return embeddings


def _package(name: str, distribution: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(f"comparing needs the package {name} ({error}): pip install {distribution}") from None
