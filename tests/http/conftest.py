from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http import models
from tests.http.support import Raw, Running, serving


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[Running]:
    """One server for every test that does not need its own."""
    with serving(repository, limits={"body": "1MiB", "running": 2}) as running:
        yield running


@pytest.fixture
def raw(server: Running) -> Iterator[Raw]:
    with Raw(server.port) as connection:
        yield connection
