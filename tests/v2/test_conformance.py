"""The suite itself: `pytest tests/v2/test_conformance.py --v2-url http://HOST:PORT` for any server of the models that
`python -m tests.v2.repository FOLDER` writes; without a URL, ours."""

from __future__ import annotations

import pytest

from tests.v2.checks import CHECKS, Check
from tests.v2.client import Client


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(url: str, check: Check) -> None:
    client = Client(url)
    try:
        check(client)
    finally:
        client.close()
