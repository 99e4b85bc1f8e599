"""What the suite asks a server with: one connection, bytes in and out, nothing of any server's own library."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

HEADER = "Inference-Header-Content-Length"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error in V2's shape."""
        document = self.json()
        assert isinstance(document, dict) and isinstance(document.get("error"), str), document
        return str(document["error"])

    def head(self) -> dict[str, Any]:
        """The JSON part of an inference answer."""
        length = self.headers.get(HEADER.lower())
        return json.loads(self.body if length is None else self.body[: int(length)])

    def output(self, name: str) -> dict[str, Any]:
        found = [one for one in self.head()["outputs"] if one["name"] == name]
        assert len(found) == 1, self.head()["outputs"]
        return found[0]

    def raw(self) -> dict[str, bytes]:
        """The bytes of each binary output; nothing may be left over."""
        rest = self.body[int(self.headers[HEADER.lower()]) :]
        parts = {}
        for one in self.head()["outputs"]:
            size = one.get("parameters", {}).get("binary_data_size")
            if size is not None:
                parts[one["name"]], rest = rest[:size], rest[size:]
                assert len(parts[one["name"]]) == size, "the body ends early"
        assert rest == b"", f"{len(rest)} bytes belong to no output"
        return parts


class Client:
    """One connection to `url`, made anew where the server closed it; `reconnects` counts that."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.prefix = parts.path.rstrip("/")
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        self.reconnects = -1

    def close(self) -> None:
        self.connection.close()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        if self.connection.sock is None:
            self.connection.connect()
            self.reconnects += 1
        encoded = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        self.connection.request(method, self.prefix + path, encoded, headers or {})
        answer = self.connection.getresponse()
        reply = Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        return reply

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def infer(self, model: str, document: Any, raw: bytes = b"", **headers: str) -> Reply:
        head = document if isinstance(document, bytes) else json.dumps(document).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if raw:
            named = {HEADER: str(len(head)), **named}
        return self.request("POST", f"/v2/models/{model}/infer", head + raw, named)


def tensor(name: str, datatype: str, shape: Iterable[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data}


def binary(name: str, datatype: str, shape: Iterable[int], raw: bytes) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": len(raw)}}


def strings(values: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in values)


def numbers(data: Any) -> np.ndarray:
    """JSON data as floats, non-finite ones in whichever spelling NumPy reads."""
    return np.array(data).ravel().astype(np.float64)
