"""Faults that V2 servers have had or could have, one each: what a proxy does to messages that were right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.v2.client import HEADER
from tests.v2.proxy import Fault, Message

LENGTH = HEADER.lower()
FAULTS: dict[str, Fault] = {}


class _Made(Fault):
    def __init__(
        self, on_request: Callable[[Message], None] | None, on_answer: Callable[[Message], None] | None
    ) -> None:
        self._on_request = on_request
        self._on_answer = on_answer

    def request(self, message: Message) -> None:
        if self._on_request is not None:
            self._on_request(message)

    def answer(self, message: Message) -> None:
        if self._on_answer is not None:
            self._on_answer(message)


def in_answers(function: Callable[[Message], None]) -> None:
    FAULTS[function.__name__] = _Made(None, function)


def in_requests(function: Callable[[Message], None]) -> None:
    FAULTS[function.__name__] = _Made(function, None)


def is_infer(message: Message) -> bool:
    return message.path.endswith("/infer") and message.status in (0, 200)


def split(message: Message) -> tuple[Any, bytes]:
    """The JSON head, None where there is none that can be read, and what follows it."""
    length = int(message.headers.get(LENGTH, len(message.body)) or 0)
    try:
        return json.loads(message.body[:length]), message.body[length:]
    except (ValueError, TypeError):
        return None, message.body


def join(message: Message, head: Any, raw: bytes) -> None:
    text = json.dumps(head).encode()
    if LENGTH in message.headers:
        message.headers[LENGTH] = str(len(text))
    message.body = text + raw


def edit_head(message: Message, change: Callable[[Any], None]) -> None:
    """Changes the JSON of an inference message; compressed and unreadable ones stay as they are."""
    if not is_infer(message) or "content-encoding" in message.headers:
        return
    head, raw = split(message)
    if isinstance(head, dict):
        change(head)
        join(message, head, raw)


def edit_outputs(message: Message, change: Callable[[dict[str, Any]], None]) -> None:
    edit_head(message, lambda head: [change(one) for one in head.get("outputs", [])] and None)


def edit_json(message: Message, path: str, change: Callable[[Any], Any]) -> None:
    """Changes the document that a path which ends so answers with."""
    if message.path.endswith(path) and message.status == 200:
        message.body = json.dumps(change(json.loads(message.body))).encode()


# --- health and metadata -------------------------------------------------------------------------------------------


@in_answers
def live_is_an_error(message: Message) -> None:
    if message.path == "/v2/health/live":
        message.status = 500


@in_answers
def ready_never_comes(message: Message) -> None:
    if message.path == "/v2/health/ready":
        message.status = 503


@in_answers
def server_metadata_lacks_the_extensions(message: Message) -> None:
    edit_json(message, "/v2", lambda one: {key: value for key, value in one.items() if key != "extensions"})


@in_answers
def an_extension_is_claimed_that_is_not_there(message: Message) -> None:
    edit_json(message, "/v2", lambda one: {**one, "extensions": [*one["extensions"], "system_shared_memory"]})


@in_answers
def versions_are_numbers(message: Message) -> None:
    edit_json(message, "/v2_pair", lambda one: {**one, "versions": [int(version) for version in one["versions"]]})


@in_answers
def the_batch_is_missing_in_metadata(message: Message) -> None:
    def drop(one: Any) -> Any:
        return {**one, "inputs": [{**item, "shape": item["shape"][1:]} for item in one["inputs"]]}

    edit_json(message, "/v2_pair", drop)


@in_answers
def datatypes_are_numpys(message: Message) -> None:
    edit_json(message, "/v2_fp32", lambda one: {**one, "inputs": [{**one["inputs"][0], "datatype": "float32"}]})


@in_answers
def unknown_models_are_a_400(message: Message) -> None:
    if message.status == 404:
        message.status = 400


@in_requests
def versions_in_paths_are_ignored(message: Message) -> None:
    before, _, rest = message.path.partition("/versions/")
    if rest and message.path.endswith("/infer"):
        message.path = before + "/infer"


# --- inference -----------------------------------------------------------------------------------------------------


@in_answers
def the_id_is_lost(message: Message) -> None:
    edit_head(message, lambda head: head.pop("id", None))


@in_answers
def an_id_is_made_up(message: Message) -> None:
    edit_head(message, lambda head: head.setdefault("id", "7"))


@in_answers
def the_version_is_a_number(message: Message) -> None:
    edit_head(message, lambda head: head.update(model_version=int(head["model_version"])))


@in_answers
def outputs_come_in_another_order(message: Message) -> None:
    if LENGTH not in message.headers:
        edit_head(message, lambda head: head["outputs"].reverse())


@in_requests
def the_choice_of_outputs_is_ignored(message: Message) -> None:
    edit_head(message, lambda head: head.pop("outputs", None))


@in_answers
def shapes_are_flat(message: Message) -> None:
    edit_outputs(message, lambda one: one.update(shape=[int(np.prod(one["shape"]))]))


@in_answers
def integers_pass_through_doubles(message: Message) -> None:
    def lossy(one: dict[str, Any]) -> None:
        if one["datatype"] == "INT64" and "data" in one:
            one["data"] = [int(float(value)) for value in one["data"]]

    edit_outputs(message, lossy)


@in_answers
def unsigned_integers_wrap(message: Message) -> None:
    def wrap(one: dict[str, Any]) -> None:
        if one["datatype"] == "UINT64" and "data" in one:
            one["data"] = [value - 2**64 if value >= 2**63 else value for value in one["data"]]

    edit_outputs(message, wrap)


@in_answers
def floats_have_six_digits(message: Message) -> None:
    def cut(one: dict[str, Any]) -> None:
        if one["datatype"] == "FP64" and "data" in one:
            one["data"] = [float(f"{value:.6g}") for value in one["data"]]

    edit_outputs(message, cut)


@in_answers
def non_finite_numbers_are_null(message: Message) -> None:
    def null(one: dict[str, Any]) -> None:
        if "data" in one:
            one["data"] = [None if value in ("NaN", "Infinity", "-Infinity") else value for value in one["data"]]

    edit_outputs(message, null)


@in_answers
def booleans_are_numbers(message: Message) -> None:
    def number(one: dict[str, Any]) -> None:
        if one["datatype"] == "BOOL" and "data" in one:
            one["data"] = [int(value) for value in one["data"]]

    edit_outputs(message, number)


@in_answers
def strings_end_at_a_nul(message: Message) -> None:
    def cut(one: dict[str, Any]) -> None:
        if one["datatype"] == "BYTES" and "data" in one:
            one["data"] = [value.partition("\x00")[0] for value in one["data"]]

    edit_outputs(message, cut)


@in_answers
def empty_outputs_are_left_out(message: Message) -> None:
    edit_head(message, lambda head: head.update(outputs=[one for one in head["outputs"] if one["shape"] != [0]]))


@in_requests
def large_requests_are_cut(message: Message) -> None:
    message.body = message.body[: 300 << 10]


# --- binary tensors ------------------------------------------------------------------------------------------------


@in_answers
def the_length_of_the_head_is_off_by_one(message: Message) -> None:
    if LENGTH in message.headers:
        message.headers[LENGTH] = str(int(message.headers[LENGTH]) - 1)


@in_answers
def binary_sizes_count_elements(message: Message) -> None:
    def count(one: dict[str, Any]) -> None:
        if "binary_data_size" in one.get("parameters", {}):
            one["parameters"]["binary_data_size"] = int(np.prod(one["shape"]))

    edit_outputs(message, count)


@in_answers
def binary_data_is_big_endian(message: Message) -> None:
    head, raw = split(message)
    if is_infer(message) and LENGTH in message.headers and head["outputs"][0]["datatype"] == "FP32":
        join(message, head, np.frombuffer(raw, ">f4").astype("<f4").tobytes())


@in_requests
def the_wish_for_binary_answers_is_ignored(message: Message) -> None:
    edit_head(message, lambda head: head.pop("parameters", None))


@in_requests
def an_outputs_own_wish_is_ignored(message: Message) -> None:
    edit_head(message, lambda head: [one.pop("parameters", None) for one in head.get("outputs", [])] and None)


@in_answers
def binary_answers_claim_to_be_json(message: Message) -> None:
    if LENGTH in message.headers:
        message.headers["content-type"] = "application/json"


@in_requests
def raw_bodies_are_taken_for_json(message: Message) -> None:
    if message.headers.get(LENGTH) == "0":
        del message.headers[LENGTH]


@in_requests
def compressed_requests_are_read_as_they_are(message: Message) -> None:
    message.headers.pop("content-encoding", None)


@in_answers
def compressed_answers_do_not_say_so(message: Message) -> None:
    message.headers.pop("content-encoding", None)


@in_answers
def classification_gives_one_class(message: Message) -> None:
    def one_class(one: dict[str, Any]) -> None:
        if one["datatype"] == "BYTES" and one["shape"] == [2, 2]:
            one.update(shape=[2, 1], data=one["data"][::2])

    edit_outputs(message, one_class)


# --- errors --------------------------------------------------------------------------------------------------------


@in_answers
def errors_are_a_200(message: Message) -> None:
    if message.status == 400:
        message.status = 200


@in_answers
def errors_have_the_frameworks_shape(message: Message) -> None:
    if message.status == 400:
        message.status, message.body = 422, b'{"detail": [{"msg": "wrong"}]}'


@in_answers
def errors_are_plain_text(message: Message) -> None:
    if message.status >= 400 and message.body.startswith(b'{"error"'):
        message.body, message.headers["content-type"] = json.loads(message.body)["error"].encode(), "text/plain"


@in_answers
def the_connection_is_closed_after_an_error(message: Message) -> None:
    message.close = message.status >= 400


@in_answers
def a_wrong_datatype_is_accepted(message: Message) -> None:
    if message.status == 400 and b"expected datatype" in message.body:
        message.status, message.body = 200, b'{"model_name": "x", "outputs": []}'


# --- extensions ----------------------------------------------------------------------------------------------------


@in_answers
def the_index_has_no_states(message: Message) -> None:
    edit_json(message, "/index", lambda rows: [{"name": row["name"], "version": row["version"]} for row in rows])


@in_requests
def unloading_does_nothing(message: Message) -> None:
    if message.path.endswith("/unload"):
        message.path = "/v2/repository/index"


@in_answers
def not_ready_does_not_say_when_to_come_back(message: Message) -> None:
    if message.status == 503:
        message.headers.pop("retry-after", None)


@in_answers
def loading_what_is_not_there_succeeds(message: Message) -> None:
    if message.path.endswith("/load"):
        message.status, message.body = 200, b""


@in_answers
def the_configuration_repeats_the_batch(message: Message) -> None:
    def repeat(one: Any) -> Any:
        return {**one, "input": [{**one["input"][0], "dims": [-1, *one["input"][0]["dims"]]}]}

    edit_json(message, "/v2_batched/config", repeat)


@in_answers
def the_configuration_has_no_batch_size(message: Message) -> None:
    edit_json(message, "/config", lambda one: {key: value for key, value in one.items() if key != "max_batch_size"})


@in_answers
def statistics_stand_still(message: Message) -> None:
    if message.path.endswith("/versions/1/stats"):
        message.body = message.memory.setdefault("stats", message.body)


@in_answers
def statistics_count_requests_as_rows(message: Message) -> None:
    def count(one: Any) -> Any:
        (model,) = one["model_stats"]
        return {"model_stats": [{**model, "inference_count": model["execution_count"]}]}

    edit_json(message, "/versions/1/stats", count)
