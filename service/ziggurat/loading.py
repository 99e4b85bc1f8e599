"""load, load_llm, load_encoder: a file or folder becomes a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ziggurat.engine import Engine, GraphBuilder, Model, default_engine
from ziggurat.errors import InvalidModel

if TYPE_CHECKING:
    from ziggurat.formats.repro import Repro
    from ziggurat.language import LanguageModel, TextEncoder
    from ziggurat.text.tokenizer import Tokenizer
    from ziggurat.types import LanguageModelSpec

Weights = Literal["auto", "f32", "bf16", "int8", "int4"]


def load(
    source: str | os.PathLike[str] | bytes,
    device: str = "auto",
    threads: int | None = None,
    engine: Engine | None = None,
    *,
    optimize: bool = True,
    disabled_passes: Sequence[str] = (),
    keep_constants: bool = False,
    repro: Repro | None = None,
    measure: bool = False,
) -> Model:
    """Loads an ONNX model.

    Args:
        source: the path of a .onnx file, or the file's bytes.
        device: "auto", "cpu", or "reference" (slow and plain, for checking).
        threads: how many of the engine's workers one run may use. Default: all.
        engine: what the model shares threads and memory with. Default: one engine for the process.
        optimize: False leaves out every optimizer pass.
        disabled_passes: names of passes to leave out.
        keep_constants: True keeps weights that kernels have packed, for `Model.check`.
        measure: True reads no weights: the model tells what it would need (`Model.load_need`, `run_need`) and does
            not run.

    Raises:
        NotFound: the file does not exist.
        InvalidModel: it is not ONNX, is damaged, or describes no valid graph.
        Unsupported: it needs an operator, a type or a version that this build does not have.
        OutOfMemory: it does not fit the engine's memory limit.

    Example:
        >>> model = ziggurat.load("resnet50.onnx")
        >>> outputs = model.run({"x": np.zeros((1, 3, 224, 224), np.float32)})
    """
    from ziggurat.formats.onnx import read_onnx

    imported = read_onnx(source, GraphBuilder)
    model = Model(
        engine or default_engine(),
        imported.graph,
        device=device,
        threads=threads,
        optimize=optimize,
        disabled_passes=disabled_passes,
        keep_constants=keep_constants,
        measure=measure,
        warnings=imported.warnings,
    )
    if repro is not None:
        options = {"device": device, "threads": threads, "optimize": optimize, "disabled_passes": list(disabled_passes)}
        repro.watch(model, source, options)
    return model


def load_llm(
    path: str | os.PathLike[str],
    *,
    weights: Weights = "auto",
    kv_cache: Literal["auto", "f32", "f16", "int8"] = "auto",
    kv_memory: int | None = None,
    context: int | None = None,
    speculation: Literal["auto", "off", "ngram"] = "auto",
    max_sequences: int = 64,
    step_tokens: int = 256,
    prefix_cache: bool = True,
    threads: int | None = None,
    engine: Engine | None = None,
    device: str = "auto",
    optimize: bool = True,
) -> LanguageModel:
    """Loads a language model.

    Args:
        path: a Hugging Face folder (config.json, safetensors, tokenizer.json) or a GGUF file.
        weights: "auto" keeps each weight matrix as the file has it. "f32", "bf16", "int8", "int4" convert while
            loading; the last two to blocks of 32 with a scale, GGUF's Q8_0 and Q4_0 ("int4" keeps embeddings and
            output at 8 bits). What a file has as blocks already stays.
        kv_cache: element type of keys and values.
        kv_memory: bytes of the cache. Default: a share of the engine's memory.
        context: most tokens of a sequence. Default: what the model says (docs/language-models.md).
        speculation: "ngram" guesses ahead from what was said; results are the same.
        max_sequences: how many run at once.
        step_tokens: how many tokens a step works on at most; long prompts come in chunks.
        prefix_cache: prompts that start alike share what was computed.
        threads, engine, device, optimize: as for `load`.

    Raises:
        NotFound: nothing is there.
        InvalidModel: files are missing, damaged, or contradict each other: named with what was expected.
        Unsupported: an architecture or encoding that is not supported; lists those that are.
        InvalidArgument: an option.
        OutOfMemory: it does not fit the engine's memory limit.

    Example:
        >>> with ziggurat.load_llm("tiny-llama", weights="int8") as llm:
        ...     print("".join(event.text for event in llm.generate("Once", max_tokens=20, temperature=0.0)))
    """
    from ziggurat.engine import Generator
    from ziggurat.formats.architectures import read_language_model
    from ziggurat.language import LanguageModel

    source = read_language_model(path, GraphBuilder, weights=weights, context=context)
    spec = source.spec
    tokenizer = _tokenizer(source.path, source.metadata)
    if tokenizer is not None:
        tokenizer.fit(spec.vocab)
    model = Model(
        engine or default_engine(),
        source.graph,
        device=device,
        threads=threads,
        optimize=optimize,
        warnings=source.warnings,
    )
    generator = Generator(
        model,
        **_decoder(spec),
        kv_dtype=kv_cache,
        kv_bytes=kv_memory,
        step_tokens=step_tokens,
        max_sequences=max_sequences,
        prefix_cache=prefix_cache,
        speculation=speculation,
    )
    return LanguageModel(model, generator, spec, tokenizer, warnings=source.warnings)


def load_encoder(
    path: str | os.PathLike[str],
    *,
    weights: Weights = "auto",
    threads: int | None = None,
    engine: Engine | None = None,
    device: str = "auto",
) -> TextEncoder:
    """Loads an embedding model or a cross-encoder of the bert family.

    Args:
        path: a Hugging Face folder; modules.json and what it names say how sentence-transformers pools.
        weights, threads, engine, device: as for `load_llm`.

    Raises:
        NotFound, InvalidModel, Unsupported, InvalidArgument, OutOfMemory: as `load_llm`.

    Example:
        >>> ziggurat.load_encoder("all-MiniLM-L6-v2").embed(["a text"]).shape
        (1, 384)
    """
    from ziggurat.formats.architectures.encoder_reader import read_encoder
    from ziggurat.language import TextEncoder

    source = read_encoder(path, GraphBuilder, weights=weights)
    tokenizer = _tokenizer(source.path, None)
    if tokenizer is None:
        raise InvalidModel(f"'{source.path}' has no tokenizer.json")
    tokenizer.fit(source.spec.vocab)
    model = Model(engine or default_engine(), source.graph, device=device, threads=threads, warnings=source.warnings)
    return TextEncoder(model, source.spec, tokenizer, first=source.first, warnings=source.warnings)


def _decoder(spec: LanguageModelSpec) -> dict[str, Any]:
    """What a generator must know of its model."""
    sizes = {name: getattr(spec, name) for name in ("layers", "kv_heads", "head_dim", "vocab", "context")}
    return {**sizes, "eos": spec.eos_token_ids}


def _tokenizer(path: str, metadata: dict[str, object] | None) -> Tokenizer | None:
    """The checkpoint's tokenizer; None where it has no trace of one."""
    from ziggurat.text.tokenizer import Tokenizer

    if metadata is not None:
        return Tokenizer.from_gguf(metadata) if "tokenizer.ggml.model" in metadata else None
    folder = Path(path)
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    return Tokenizer.from_folder(folder) if any((folder / name).exists() for name in names) else None
