"""The suite is itself tested: a proxy that changes nothing must pass, and each fault of one that does be noticed."""

from __future__ import annotations

import http.client

import pytest

from tests.http.support import Running
from tests.v2.checks import CHECKS
from tests.v2.client import Client
from tests.v2.faults import FAULTS
from tests.v2.proxy import Fault, proxy

# How a check that was written for right answers may end on a wrong one.
NOTICED = (
    AssertionError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OSError,
    http.client.HTTPException,
)


def complaints(url: str, stop: bool) -> list[str]:
    """The checks that fail; only the first where that is enough."""
    failed = []
    for check in CHECKS:
        client = Client(url)
        try:
            check(client)
        except NOTICED as error:
            failed.append(f"{check.__name__}: {error!r}"[:300])
            if stop:
                break
        finally:
            client.close()
    return failed


def test_a_proxy_without_a_fault_passes(own_server: Running) -> None:
    with proxy(own_server.url, Fault()) as url:
        assert complaints(url, stop=False) == []


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 40 and len(CHECKS) >= 40


@pytest.mark.heavy
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_noticed(own_server: Running, name: str) -> None:
    with proxy(own_server.url, FAULTS[name]) as url:
        assert complaints(url, stop=True), f"no check noticed: {name}"
