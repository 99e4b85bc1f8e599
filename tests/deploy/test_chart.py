"""The Helm chart against its own schema, the server's routes and settings, and the image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.deploy.test_image import stages
from tests.http.support import Running, serving
from ziggurat import settings

CHART = Path(__file__).parents[2] / "helm" / "ziggurat"
TEMPLATES = sorted((CHART / "templates").glob("*"))


def values() -> dict[str, Any]:
    document = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def schema() -> dict[str, Any]:
    document = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def text_of(name: str) -> str:
    return (CHART / "templates" / name).read_text(encoding="utf-8")


def test_the_default_values_fit_their_schema() -> None:
    jsonschema_rs.validate(schema(), values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 2},
        {"replicaCount": "two"},
        {"image": {"repository": "", "tag": "", "pullPolicy": "Always"}},
        {"service": {"type": "ClusterIP", "port": 0}},
        {"settings": {"queue": "1"}},
        {"models": {"path": "mnt", "volume": {"emptyDir": {}}}},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema(), {**values(), **wrong})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_use_values_and_helpers_that_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for reference in re.findall(r"\.Values((?:\.\w+)+)", text):
        found: Any = values()
        for key in reference[1:].split("."):
            assert key in found, f"{path.name}: .Values{reference}"
            found = found[key]
    defined = re.findall(r'define "([^"]+)"', text_of("_helpers.tpl"))
    assert set(re.findall(r'include "([^"]+)"', text)) <= set(defined)
    assert text.count("{{") == text.count("}}")
    opened = len(re.findall(r"{{-? (?:if|with|range|define) ", text))
    assert opened == len(re.findall(r"{{-? end -?}}", text))


def test_every_value_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    assert [key for key in values() if f".Values.{key}" not in text] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("empty")) as running:
        yield running


def test_probes_and_scrapes_ask_routes_that_there_are(server: Running) -> None:
    text = text_of("deployment.yaml")
    routes = {getattr(route, "path", "") for route in server.service.api.app.routes}  # type: ignore[attr-defined]
    document = json.dumps(server.service.api.app.openapi()["paths"])  # type: ignore[attr-defined]
    asked = re.findall(r"^\s+path: (/\S+)$", text, re.MULTILINE) + re.findall(r"prometheus.io/path: (\S+)", text)
    assert len(asked) == 4
    for path in asked:
        assert path in routes or f'"{path}"' in document, path


def test_the_grace_covers_draining_and_what_follows() -> None:
    (words,) = re.findall(r"terminationGracePeriodSeconds: {{ add ([^}]+) }}", text_of("deployment.yaml"))
    assert {".Values.drainDelay", ".Values.grace"} < set(words.split())


def test_settings_become_the_variables_that_the_server_reads() -> None:
    assert 'replace "." "__" | upper' in text_of("_helpers.tpl")
    known = {name for name, *_ in settings.load().rows()}
    fixed = re.findall(r"name: ZIGGURAT_(\w+)__(\w+)", text_of("deployment.yaml"))
    assert fixed and {f"{group}.{key}".lower() for group, key in fixed} <= known


def test_port_and_user_are_the_images() -> None:
    run, text = stages()[1], text_of("deployment.yaml")
    assert f"containerPort: {run.of('EXPOSE')[0]}" in text
    assert f"runAsUser: {run.of('USER')[0].split(':')[0]}" in text
    assert 'args: ["serve"' in text


def rendered(release: str, given: dict[str, Any], tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The chart's objects by their kind, from the helm command or from Helm as a library (PyPI: helm-python-sdk)."""
    helm, file = shutil.which("helm"), tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    if helm is not None:
        subprocess.run([helm, "lint", "--strict", "--values", str(file), str(CHART)], check=True)
        command = [helm, "template", release, str(CHART), "--values", str(file)]
        texts = [subprocess.run(command, check=True, capture_output=True, text=True).stdout]
    else:
        library = pytest.importorskip("helm_python", reason="helm is not installed")
        assert library.lint(str(CHART), given)["errors"] == []
        with library.Chart.load(str(CHART)) as chart:
            chart.validate_schema(given)
            found = chart.render(given, name=release, namespace="default")
        texts = [text for name, text in found.items() if name.endswith(".yaml")]
    return {one["kind"]: one for text in texts for one in yaml.safe_load_all(text)}


def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec = objects["Deployment"]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_it_renders(tmp_path: Path) -> None:
    objects = rendered("zoo", {"podAnnotations": {"a": "b"}, "nodeSelector": {"c": "d"}, "drainDelay": 5}, tmp_path)
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"].items() <= labels.items()
    assert objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]["a"] == "b"
    assert pod(objects)["nodeSelector"] == {"c": "d"} and pod(objects)["terminationGracePeriodSeconds"] == 50
    assert pod(objects)["volumes"][0] == {"name": "models", "emptyDir": {}}
    assert objects["Service"]["metadata"]["name"] == "zoo-ziggurat"
    assert rendered("ziggurat", {}, tmp_path)["Service"]["metadata"]["name"] == "ziggurat"


def test_rendered_settings_are_read_as_they_were_meant(tmp_path: Path) -> None:
    wanted = {"limits.queue": 2097152, "limits.body": 1 << 40, "server.hang": 0.5, "language.prefix_cache": False}
    given = {"settings": {**wanted, "models.required": "a,b"}}
    env = {one["name"]: one["value"] for one in pod(rendered("x", given, tmp_path))["containers"][0]["env"]}
    read = settings.load(environ=env).settings
    assert read.limits.queue == 2097152 and read.limits.body == 1 << 40 and read.server.hang == 0.5
    assert read.language.prefix_cache is False and read.models.required == ("a", "b")


def test_a_volume_is_named_without_taking_another_away(tmp_path: Path) -> None:
    claim = {"persistentVolumeClaim": {"claimName": "models"}}
    assert pod(rendered("x", {"models": {"volume": claim}}, tmp_path))["volumes"][0] == {"name": "models", **claim}
