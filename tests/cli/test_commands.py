from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.support import environment, ziggurat
from tests.http import models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(models.pair(tmp_path_factory.mktemp("cli") / "pair.onnx"))


def test_help_teaches_with_examples() -> None:
    text = ziggurat("--help").stdout
    assert "ziggurat serve ./models" in text
    assert all(word in text for word in ("serve", "bench", "inspect", "check", "verify", "config", "devices"))
    assert "mobilenet.onnx --name vision/mobilenet" in ziggurat("serve", "--help").stdout


def test_help_imports_neither_the_server_nor_the_engine() -> None:
    code = "import sys; sys.argv = ['ziggurat', '--help']\nimport ziggurat.cli\ntry: ziggurat.cli.main()\n"
    code += "except SystemExit: pass\nprint('LOADED', sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = run.stdout.partition("LOADED")[2]
    for name in ("fastapi", "uvicorn", "numpy", "pydantic", "onnx", "ziggurat._native"):
        assert f"'{name}'" not in loaded, f"--help imports {name}"


@pytest.mark.parametrize("command", [["serve"], ["inspect"], ["bench"], ["check"], ["verify"]])
def test_a_path_that_does_not_exist_is_one_line_and_status_2(command: list[str]) -> None:
    run = ziggurat(*command, "no/such/model.onnx")
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1 and "no/such/model.onnx" in run.stderr


@pytest.mark.parametrize("command", [["inspect"], ["bench"], ["check"], ["verify"]])
def test_a_file_that_is_no_model_is_one_line_and_status_2(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"this is no model at all")
    run = ziggurat(*command, str(path))
    assert run.returncode == 2 and run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve"], "nothing to serve"),
        (["serve", ".", "--set", "limits.queue"], "--set takes GROUP.KEY=VALUE"),
        (["serve", ".", "--set", "limits.queu=1"], "did you mean 'limits.queue'?"),
        (["serve", ".", "--set", "limits.queue=-1"], "setting 'limits.queue' (command line)"),
        (["serve", ".", "--config", "none.toml"], "No such file"),
        (["serve", ".", "--host", "not.an.address.invalid"], "cannot listen on"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(words: list[str], says: str) -> None:
    run = ziggurat(*words)
    assert run.returncode == 2 and says in run.stderr and run.stderr.count("\n") == 1


def test_config_prints_every_value_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "z.toml"
    file.write_text("[limits]\nqueue = 7\n")
    words = ("config", "--config", str(file), "--set", "server.name=here")
    rows = {
        row["setting"]: row for row in json.loads(ziggurat(*words, "--json", ZIGGURAT_LOGGING__LEVEL="debug").stdout)
    }
    assert rows["limits.queue"]["value"] == "7" and rows["limits.queue"]["origin"] == f"file {file}"
    assert rows["logging.level"]["origin"] == "environment" and rows["server.name"]["origin"] == "command line"
    assert rows["server.port"]["origin"] == "default"
    assert "limits.queue" in ziggurat(*words).stdout


def test_devices_names_the_instruction_set_and_why_so_many_threads() -> None:
    report = json.loads(ziggurat("devices", "--json").stdout)
    assert report["isa"] and report["threads"] >= 1 and report["threads_reason"]
    assert "cpu" in [device["name"] for device in report["devices"]]
    assert report["isa"] in ziggurat("devices").stdout


def test_inspect_tells_tensors_and_plan(model: str) -> None:
    report = json.loads(ziggurat("inspect", model, "--json", "--plan").stdout)
    assert report["inputs"][0] == {"name": "a", "dtype": "float32", "shape": ["batch", 2]}
    assert report["fingerprint"] and report["fallback_steps"] == 0 and report["plan"]
    text = ziggurat("inspect", model).stdout
    assert "input    a float32 [batch, 2]" in text and "output   sum float32 [batch, 2]" in text


def test_bench_measures(model: str) -> None:
    words = ("bench", model, "--seconds", "0.2", "--batch", "4", "--threads", "1")
    report = json.loads(ziggurat(*words, "--json").stdout)
    latency = report["latency_ms"]
    assert report["runs"] >= 1 and 0 < latency["min"] <= latency["p50"] <= latency["p99"]
    assert report["inputs"]["a"] == ["float32", [4, 2]] and report["threads"] == 1
    assert report["items_per_second"] == pytest.approx(4e3 / latency["mean"], rel=0.05)
    assert "latency" in ziggurat(*words, "--dim", "batch=2").stdout


def test_bench_refuses_a_dimension_that_is_not_there(model: str) -> None:
    run = ziggurat("bench", model, "--dim", "sequence=2")
    assert run.returncode == 2 and "no dimension is called sequence: there are batch" in run.stderr


def test_check_agrees_on_a_model_that_is_right(model: str) -> None:
    run = ziggurat("check", model)
    assert run.returncode == 0, run.stderr
    assert "agrees  sum: 0.00e+00" in run.stdout and "agrees  difference" in run.stdout


def test_check_compares_each_step_with_its_operator(model: str) -> None:
    first = ziggurat("check", model).stdout.splitlines()[0]
    assert re.match(r"(\d+) of \1 steps against their ops' definitions, at most \d", first)


def test_inspect_draws_the_plan_with_its_times(model: str, tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    run = ziggurat("inspect", model, "--graph", str(picture), "--timed")
    assert run.returncode == 0, run.stderr
    root = ElementTree.parse(picture).getroot()
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(re.match(r"Add  \d+ µs \(\d+\.\d%\)", text) for text in texts), texts
    assert {"input", "output", "sum"} <= set(texts)
    arrows = list(root.iter("{http://www.w3.org/2000/svg}path"))
    assert len(arrows) >= 4


def test_inspect_memory_says_what_a_model_takes_and_whether_it_fits(model: str) -> None:
    text = ziggurat("inspect", model, "--memory", "--batch", "4").stdout
    assert all(word in text for word in ("weights", "constants", "slab", "scratch", "outputs", "fits the limit of"))
    report = json.loads(ziggurat("inspect", model, "--memory", "--batch", "4", "--json").stdout)
    run, load = report["run"], report["load"]
    assert report["fits"] and all(shape[0] == 4 for shape in report["shapes"].values())
    parts = load["packed"] + load["constants"] + run["slab"] + run["scratch"] + run["outputs"]
    assert report["total"] == parts > 0
