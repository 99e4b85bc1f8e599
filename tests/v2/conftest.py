from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.support import Running, serving
from tests.v2 import repository


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(repository.write(tmp_path_factory.mktemp("v2"))) as running:
        yield running


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """The server under test: the one of --v2-url, or one of ours."""
    given = request.config.getoption("--v2-url")
    return str(given) if given else str(request.getfixturevalue("own_server").url)
