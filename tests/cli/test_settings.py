from __future__ import annotations

import io
from pathlib import Path

import pytest

import ziggurat
from tests.conformance import small_models
from tests.conformance.inputs import feeds_for
from tests.http.support import until
from ziggurat import settings
from ziggurat.app import Service
from ziggurat.errors import InvalidArgument
from ziggurat.telemetry.logs import make_logger


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "z.toml"
    file.write_text("[server]\nport = 1\nhost = '0.0.0.0'\nname = 'from file'\n")
    environ = {"ZIGGURAT_SERVER__PORT": "2", "ZIGGURAT_SERVER__HOST": "::1"}
    loaded = settings.load({"server": {"port": 3}}, environ, file)
    server = loaded.settings.server
    assert (server.port, server.host, server.name, server.keep_alive) == (3, "::1", "from file", 75.0)
    origins = {row[0]: row[2] for row in loaded.rows()}
    assert origins["server.port"] == "command line" and origins["server.host"] == "environment"
    assert origins["server.name"] == f"file {file}" and origins["server.keep_alive"] == "default"


def test_what_kubernetes_injects_is_not_a_setting() -> None:
    environ = {"ZIGGURAT_PORT": "tcp://10.0.0.1:8000", "ZIGGURAT_SERVICE_HOST": "10.0.0.1", "OTHER__X": "1"}
    assert settings.load(environ=environ).settings.server.port == 8000


def test_sizes_and_lists_are_written_as_people_write_them() -> None:
    loaded = settings.load(environ={"ZIGGURAT_LIMITS__BODY": "2MiB", "ZIGGURAT_MODELS__REQUIRED": "a, b/c"})
    assert loaded.settings.limits.body == 2 << 20 and loaded.settings.models.required == ("a", "b/c")
    assert ("limits.body", "2.0MiB", "environment") in [row[:3] for row in loaded.rows()]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"ZIGGURAT_SERVER__PROT": "1"}, "unknown setting 'server.prot' (environment): did you mean 'server.port'?"),
        ({"ZIGGURAT_SERVR__PORT": "1"}, "unknown setting 'servr' (environment): did you mean 'server'?"),
        ({"ZIGGURAT_XYZ__QQQ": "1"}, "known are server, engine, models, limits, language, repro, logging"),
        ({"ZIGGURAT_SERVER__PORT": "70000"}, "setting 'server.port' (environment)"),
        ({"ZIGGURAT_SERVER__PORT": "eight"}, "got 'eight'"),
        ({"ZIGGURAT_LIMITS__TIMEOUT": "nan"}, "setting 'limits.timeout'"),
        ({"ZIGGURAT_ENGINE__MEMORY_LIMIT": "lots"}, "setting 'engine.memory_limit'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_origin(environ: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings.load(environ=environ)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("port = ", "is not TOML"), ("port = 1", "expected a group"), ("[server]\nprt = 1", "server.port")],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "z.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=r"z\.toml") as caught:
        settings.load(file=file)
    assert says in str(caught.value)
    with pytest.raises(InvalidArgument, match="No such file"):
        settings.load(file=tmp_path / "none.toml")


def test_settings_are_few_described_and_frozen() -> None:
    loaded = settings.load()
    rows = loaded.rows()
    # What an operator must be able to bound or switch off: a page of the guide, no more.
    assert len(rows) <= 44 and all(row[3].endswith(".") for row in rows)
    with pytest.raises(ValueError, match="frozen"):
        loaded.settings.server.port = 1  # type: ignore[misc]


def test_memory_settings_reach_the_engine() -> None:
    content = small_models.MAKERS["residual_net"]()
    loaded = settings.load({"engine": {"purge_after": 0.1, "threads": 1}}).settings
    service = Service(loaded, make_logger(loaded.logging, io.StringIO()))
    with ziggurat.load(content, engine=service.engine) as model:
        model.run(feeds_for(content, 256, sequence=8))
        until(lambda: sum(pool["cached"] for pool in service.engine.pools()) < 4 << 20, "idle memory goes back")
    with pytest.raises(InvalidArgument, match="defragment_above"):
        settings.load({"engine": {"defragment_above": -1}})


def test_the_guide_lists_every_setting_as_it_is() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    listed = [line for line in guide.partition("## Settings")[2].splitlines() if line.startswith("| `")]
    assert listed == [f"| `{name}` | {value} | {text} |" for name, value, _, text in settings.load().rows()]
