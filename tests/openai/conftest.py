from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.e2e import server as process
from tests.http.support import Raw, Running, serving
from tests.openai import tiny

NAME = "team/tiny"  # names may have slashes


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("language")
    tiny.write(root / NAME)
    return root


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[Running]:
    """A server in this process, whose insides can be looked at."""
    with serving(repository, limits={"body": "1MiB"}) as running:
        yield running


@pytest.fixture
def raw(server: Running) -> Iterator[Raw]:
    with Raw(server.port) as connection:
        yield connection


@pytest.fixture(scope="session")
def alone(repository: Path) -> Iterator[process.Server]:
    """A server process, as users run it."""
    with process.serve(repository) as running:
        yield running


@pytest.fixture
def client(alone: process.Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{alone.url}/v1", api_key="none", max_retries=0, timeout=60) as one:
        yield one
