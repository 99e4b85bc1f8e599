"""Models nobody would write: python -m tests.conformance.model_fuzz SEED COUNT CULPRIT

COUNT times a model of the onnx package's suite or one of ours is changed field by field, as protobuf lets it be
changed, then loaded and run with a deadline. What comes of it is a result or a typed error; anything else, a crash
most of all, ends the process, and the file CULPRIT holds the model. Prints how often each end came.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

import ziggurat
from tests.conformance import small_models
from tests.conformance.inputs import feeds_for
from tests.conformance.node_cases import collect, unpack
from ziggurat.errors import ZigguratError

MEMORY = 256 << 20  # of the engine
BESIDE = 2 << 30  # that the process may take beside what it has at the start: no file of some kilobytes needs more
SECONDS = 2.0
INTEGERS = [-(2**63), -(2**31), -7, -2, -1, 0, 1, 2, 3, 8, 17, 255, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan")]
WORDS = ["", "x", "ai.onnx", "ai.onnx.ml", "relu", "axis", "Add", "If", "Loop", "Identity", "Conv", "Reshape", "é\x00"]
_INTS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
_FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def bases() -> Iterator[tuple[onnx.ModelProto, dict[str, Any]]]:
    """Small models, each with inputs that it takes."""
    for make in small_models.MAKERS.values():
        yield onnx.load_from_string(make()), dict(feeds_for(make(), 1))
    for case in collect():
        model = case.model()
        inputs, _ = next(iter(case.data()))
        if model.ByteSize() < 1 << 16:
            yield model, {value.name: unpack(one) for value, one in zip(model.graph.input, inputs, strict=False)}


def fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Every field that is set, of the message and of all within it."""
    for field, value in message.ListFields():
        yield message, field
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from fields(inner)


def other(field: FieldDescriptor, value: Any, words: list[str], rng: random.Random) -> Any:
    """Another value for a field that is no message."""
    if field.cpp_type in _INTS:
        low = field.cpp_type == FieldDescriptor.CPPTYPE_INT32
        return rng.choice(
            [one for one in INTEGERS if not low or abs(one) < 2**31]
            + [value + 1, value - 1][: 2 * (abs(value) < 2**30)]
        )
    if field.cpp_type in _FLOATS:
        return rng.choice(FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if isinstance(value, bytes):
        cut = rng.randrange(len(value) + 1)
        return rng.choice(
            [value[:cut], value + value[:cut], bytes(len(value)), b"\xff" * len(value), rng.randbytes(cut)]
        )
    if isinstance(value, str):
        return rng.choice(words + WORDS)
    return rng.choice([0, 1, 2**32 - 1])


def change(model: onnx.ModelProto, rng: random.Random) -> None:
    """One change anywhere in the model."""
    places = list(fields(model))
    if not places:
        return
    words = [getattr(one, field.name) for one, field in places if isinstance(getattr(one, field.name), str)]
    message, field = rng.choice(places)
    value = getattr(message, field.name)
    if not field.is_repeated:
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE or rng.random() < 0.2:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, other(field, value, words, rng))
        return
    index, act = rng.randrange(len(value)), rng.choice(["drop", "repeat", "swap", "change", "change"])
    items = list(value)
    if act == "drop":
        del items[index]
    elif act == "repeat":
        items.insert(rng.randrange(len(items) + 1), items[index])
    elif act == "swap":
        to = rng.randrange(len(items))
        items[index], items[to] = items[to], items[index]
    elif field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
        items[index] = other(field, items[index], words, rng)
    copies = [type(one).FromString(one.SerializeToString()) if isinstance(one, Message) else one for one in items]
    del value[:]
    value.extend(copies)


def run(engine: ziggurat.Engine, data: bytes, feeds: dict[str, Any]) -> str:
    """The end it came to: "ran", or a typed error's code."""
    try:
        with ziggurat.load(data, engine=engine) as model:
            taken = {spec.name: feeds[spec.name] for spec in model.inputs if feeds.get(spec.name) is not None}
            model.run(taken, deadline=time.monotonic() + SECONDS)
    except ZigguratError as error:
        if error.code == "internal" or not str(error):
            raise
        return error.code
    return "ran"


def main() -> None:
    seed, count, culprit = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    rng, ends = random.Random(seed), Counter[str]()
    known = list(bases())
    engine = ziggurat.Engine(threads=2, memory_limit=MEMORY)
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (data_pages * resource.getpagesize() + BESIDE,) * 2)
    for _ in range(count):
        base, feeds = rng.choice(known)
        model = onnx.ModelProto()
        model.CopyFrom(base)
        for _ in range(rng.choice([1, 1, 2, 5])):
            change(model, rng)
        data = model.SerializeToString()
        culprit.write_bytes(data)
        with np.errstate(all="ignore"):
            ends[run(engine, data, feeds)] += 1
    assert engine.memory()["reserved"] == 0, "memory was lost"
    culprit.unlink()
    print(dict(ends))


if __name__ == "__main__":
    main()
