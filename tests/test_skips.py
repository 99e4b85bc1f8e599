from __future__ import annotations

import pytest

from tests.skips import differences, parse

LIST = """
# a comment
always tests/a.py::test_gpu -- no GPU*
may    tests/b.py::test_*   -- needs torch
"""


def test_a_listed_skip_is_no_difference() -> None:
    skipped = {"tests/a.py::test_gpu": "no GPU here", "tests/b.py::test_x": "needs torch"}
    assert differences(parse(LIST), skipped, set(skipped)) == []


def test_an_unlisted_skip_or_reason_is_named() -> None:
    skipped = {"tests/a.py::test_gpu": "no GPU", "tests/b.py::test_x": "feels slow", "tests/c.py::test": "why not"}
    assert differences(parse(LIST), skipped, set(skipped)) == [
        "not in the list: tests/b.py::test_x -- feels slow",
        "not in the list: tests/c.py::test -- why not",
    ]


def test_what_always_skips_must_exist_and_skip_and_what_may_skip_need_not() -> None:
    assert differences(parse(LIST), {}, {"tests/a.py::test_gpu", "tests/b.py::test_x"}) == [
        "in the list as always, but it ran: tests/a.py::test_gpu"
    ]
    assert differences(parse(LIST), {}, set()) == [
        "in the list as always, but there is no such test: tests/a.py::test_gpu"
    ]


def test_a_line_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot read 'sometimes"):
        parse("sometimes tests/a.py -- reason")
