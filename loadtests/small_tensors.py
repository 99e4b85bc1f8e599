"""Small tensors: one picture of a digit at a time, as JSON and as binary data, as fast as the answers come."""

from __future__ import annotations

import json
import random
import struct

from locust import FastHttpUser, constant, task

from loadtests.timing import record

MODEL = "digits"
PIXELS = 64


class SmallTensors(FastHttpUser):
    wait_time = constant(0)

    @task(1)
    def as_json(self) -> None:
        item = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": self._picture()}
        self._ask("JSON", json.dumps({"inputs": [item]}).encode(), {"content-type": "application/json"})

    @task(1)
    def as_binary(self) -> None:
        raw = struct.pack(f"<{PIXELS}f", *self._picture())
        item = {
            "name": "image",
            "shape": [1, 1, 8, 8],
            "datatype": "FP32",
            "parameters": {"binary_data_size": len(raw)},
        }
        head = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
        headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        self._ask("binary", head + raw, headers)

    def _ask(self, name: str, body: bytes, headers: dict[str, str]) -> None:
        path = f"/v2/models/{MODEL}/infer"
        with self.client.post(path, data=body, headers=headers, name=name, catch_response=True) as reply:
            if reply.status_code != 200:
                reply.failure(f"status {reply.status_code}")
            else:
                record(self.environment, reply.headers.get("server-timing", ""))

    @staticmethod
    def _picture() -> list[int]:
        return [random.randint(0, 16) for _ in range(PIXELS)]  # noqa: S311 - a picture, no secret
