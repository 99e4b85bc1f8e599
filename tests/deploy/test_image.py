"""The Dockerfile, read as Docker would read it; tools/image-check runs what is built from it."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [text for kind, text in self.steps if kind == word]


def stages() -> list[Stage]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: list[Stage] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            parts = rest.split()
            found.append(Stage(parts[0], parts[2] if len(parts) == 3 else ""))
        elif found:
            found[-1].steps.append((word, rest.strip()))
    return found


def copied(stage: Stage) -> list[str]:
    """What a stage copies out of the build context."""
    return [source for text in stage.of("COPY") if "--from" not in text for source in text.split()[:-1]]


def is_ignored(path: str) -> bool:
    """As .dockerignore decides: the last pattern that matches counts."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().lstrip("!")
        if not pattern or pattern.startswith("#"):
            continue
        top, anywhere = path.split("/")[0], pattern.removeprefix("**/")
        if fnmatch.fnmatch(path, anywhere) or ("/" not in pattern and fnmatch.fnmatch(top, pattern)):
            ignored = not line.startswith("!")
    return ignored


def test_there_is_a_stage_that_builds_and_one_that_runs() -> None:
    build, run = stages()
    assert build.name == "build" and any("g++" in text for text in build.of("RUN"))
    assert not any(word in text for text in run.of("RUN") for word in ("g++", "gcc", "pip install", "apt-get"))
    assert build.base == run.base, "a virtual environment runs on the interpreter that made it"


def test_every_path_that_is_copied_exists_and_reaches_the_build() -> None:
    build, run = stages()
    sources = copied(build) + copied(run)
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source), f"{source} is in .dockerignore"


def test_what_a_build_needs_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        "pyproject.toml",
        project["project"]["readme"],
        *project["project"]["license-files"],
        project["tool"]["scikit-build"]["cmake"]["source-dir"],
        *(path.split("/")[0] for path in project["tool"]["scikit-build"]["wheel"]["packages"]),
    }
    assert needed <= set(copied(stages()[0]))


@pytest.mark.parametrize("path", ["tests", "models", ".git", ".venv", "build", "service/ziggurat/__pycache__"])
def test_what_a_build_does_not_need_stays_behind(path: str) -> None:
    name = path.rsplit("/", 1)[-1]
    assert is_ignored(path) or is_ignored(name)


def test_what_is_copied_between_stages_was_made() -> None:
    build, run = stages()
    for text in run.of("COPY"):
        source = re.sub(r"--from=build\s+", "", text).split()[0]
        assert any(source in step for step in build.of("RUN")), source


def test_it_runs_as_nobody_and_serves() -> None:
    run = stages()[1]
    (user,) = run.of("USER")
    assert user.split(":")[0].isdecimal() and int(user.split(":")[0]) > 0, "Kubernetes checks runAsNonRoot by number"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    (entry,) = run.of("ENTRYPOINT")
    assert json.loads(entry)[0] in scripts
    (port,) = run.of("EXPOSE")
    assert f"ZIGGURAT_SERVER__PORT={port}" in run.of("ENV")[0]
    (probe,) = run.of("HEALTHCHECK")
    assert "os.environ['ZIGGURAT_SERVER__PORT']" in probe, "the port may be set anew"
    assert "/v2/health/live" in probe
