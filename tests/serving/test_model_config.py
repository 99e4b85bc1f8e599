"""model.yaml, and the configuration of a load request."""

from __future__ import annotations

from pathlib import Path

import pytest

from ziggurat.errors import InvalidArgument
from ziggurat.serving.model_config import ModelConfig, VersionPolicy, from_triton, read_config
from ziggurat.serving.repository import scan
from ziggurat.settings import LanguageSettings


def config(folder: Path, text: str) -> ModelConfig:
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    return read_config(folder)


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert read_config(tmp_path) == ModelConfig()
    assert config(tmp_path, "# nothing\n") == ModelConfig()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ant\nbee\n", encoding="utf-8")
    text = """
        versions: {latest: 2}
        aliases: [a, b/c]
        max_batch_size: 8
        max_queue_delay: 0.01
        timeout: 5
        required: true
        device: cpu
        threads: 1
        labels: {y: labels.txt, z: [cat, dog]}
        language: {weights: int8, kv_memory: 2MiB, max_sequences: 3, prefix_cache: false}
    """
    got = config(tmp_path, text)
    assert got.versions == VersionPolicy(latest=2) and got.aliases == ("a", "b/c")
    assert (got.max_batch_size, got.max_queue_delay, got.timeout, got.threads) == (8, 0.01, 5, 1)
    assert got.required and got.device == "cpu"
    assert got.labels == {"y": ("ant", "bee"), "z": ("cat", "dog")}
    told = got.language.over(LanguageSettings(weights="int4", context=7))
    assert (told.weights, told.kv_memory, told.max_sequences, told.prefix_cache) == ("int8", 2 << 20, 3, False)
    assert (told.context, told.step_tokens) == (7, 256), "what the file does not say is the server's"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_batchsize: 8", "unknown key 'max_batchsize': did you mean 'max_batch_size'"),
        ("versions: {newest: 1}", "unknown key 'versions.newest'"),
        ("language: {weight: int8}", "unknown key 'language.weight': did you mean 'weights'"),
        ("language: {weights: int3}", "key 'language.weights'"),
        ("language: {context: 0}", "key 'language.context'"),
        ("language: int8", "key 'language'"),
        ("max_batch_size: many", "key 'max_batch_size'"),
        ("max_queue_delay: .inf", "key 'max_queue_delay'"),
        ("threads: 0", "key 'threads'"),
        ("[1, 2]", "must hold keys and values"),
        ("a: [", "not YAML"),
        ("labels: {y: ../secret.txt}", "outside of the model's folder"),
        ("labels: {y: nothing.txt}", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=r"model\.yaml|labels") as caught:
        config(tmp_path, text)
    assert says in str(caught.value)


def test_a_file_is_data_never_code(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not YAML"):
        config(tmp_path, "aliases: !!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), {"1", "2", "10"}),
        (VersionPolicy(latest=1), {"10"}),
        (VersionPolicy(latest=2), {"2", "10"}),
        (VersionPolicy(specific=(2, 7)), {"2", "7"}),
    ],
)
def test_policies_choose(policy: VersionPolicy, chosen: set[str]) -> None:
    assert policy.chosen(["1", "10", "2"]) == chosen


def lay(root: Path, *files: str, settings: str = "") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    if settings:
        (root / "m/model.yaml").write_text(settings, encoding="utf-8")
    return root


def test_a_scan_follows_the_policy(tmp_path: Path) -> None:
    root = lay(tmp_path, "m/1/model.onnx", "m/2/model.onnx", settings="versions: {latest: 1}")
    assert [one.version for one in scan(root)] == ["2"]
    assert [one.version for one in scan(root, every_version=True)] == ["1", "2"]
    lay(tmp_path, settings="versions: {specific: [1, 5]}")
    there, missing = scan(root)
    assert (there.version, there.problem) == ("1", None)
    assert missing.version == "5" and missing.problem is not None and "not there" in missing.problem


def test_settings_of_a_lone_file_stand_beside_it(tmp_path: Path) -> None:
    lay(tmp_path, "net.onnx", "other.onnx")
    (tmp_path / "net.yaml").write_text("max_batch_size: 4", encoding="utf-8")
    assert [one.config.max_batch_size for one in scan(tmp_path)] == [4, 0]


def test_a_wrong_file_is_that_models_problem_only(tmp_path: Path) -> None:
    bad, good = scan(lay(tmp_path, "m/1/model.onnx", "n.onnx", settings="treads: 1"))
    assert bad.problem is not None and "did you mean 'threads'" in bad.problem
    assert good.problem is None


def test_an_alias_has_one_owner(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/model.onnx", "n/1/model.onnx", settings="aliases: [fine, n]")
    (tmp_path / "n/model.yaml").write_text("aliases: [fine]", encoding="utf-8")
    problems = {one.name: one.problem for one in scan(tmp_path)}
    assert problems["m"] == "the alias 'n' is taken by 'n'"
    assert problems["n"] == "the alias 'fine' is taken by 'm'"


def test_tritons_configuration_goes_over_the_models_own() -> None:
    base = ModelConfig(aliases=("kept",), timeout=3)
    text = """{"name": "x", "backend": "onnxruntime", "max_batch_size": 16,
               "dynamic_batching": {"max_queue_delay_microseconds": "500"},
               "version_policy": {"specific": {"versions": [3]}}, "parameters": {"threads": {"string_value": "2"}}}"""
    got = from_triton(text, base)
    assert got.aliases == ("kept",) and got.timeout == 3
    assert (got.max_batch_size, got.max_queue_delay, got.threads) == (16, 0.0005, 2)
    assert got.versions.describe() == {"specific": {"versions": [3]}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "must be a JSON object"),
        ('{"max_batchsize": 1}', "did you mean 'max_batch_size'"),
        ('{"version_policy": {"newest": 1}}', "'version_policy' is"),
        ('{"parameters": {"thread": "1"}}', "did you mean 'threads'"),
        ('{"dynamic_batching": {"max_queue_delay_microseconds": "soon"}}', "must be a number"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_triton(text, ModelConfig())
    assert says in str(caught.value)
