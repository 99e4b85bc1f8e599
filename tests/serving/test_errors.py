from __future__ import annotations

import pickle

import pytest

from ziggurat import errors


@pytest.mark.parametrize("code", errors.BY_CODE)
def test_every_code_has_one_class_that_survives_pickling(code: str) -> None:
    error = errors.BY_CODE[code]("too short", node="c1", op="Conv", tensor="x")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and copy.code == code
    assert str(copy) == "Conv node 'c1', tensor 'x': too short"


def test_fields_that_are_unknown_leave_no_trace_in_the_text() -> None:
    assert str(errors.NotFound("no such model")) == "no such model"
    assert str(errors.InvalidArgument("is int8", tensor="x")) == "tensor 'x': is int8"
    assert str(errors.Internal("oops", op="Add", node="")) == "Add: oops"


def test_wrong_values_are_value_errors_and_overload_says_when_to_return() -> None:
    assert issubclass(errors.InvalidArgument, ValueError) and issubclass(errors.InvalidModel, ValueError)
    assert errors.Overloaded("full", retry_after=2.5).retry_after == 2.5
