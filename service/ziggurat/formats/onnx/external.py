"""External data: tensors whose bytes lie in other files beside the model.

A location may only lead to a regular file inside the model's folder, after every symbolic link is resolved. If the
model's file is itself a link (a download cache that links into a blob folder), the folder it leads to counts as well.
"""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ziggurat.errors import InvalidModel


class FileRange(NamedTuple):
    path: str
    offset: int
    length: int


class ExternalData:
    """Resolves the external_data entries of one model. `model_path` is None for a model given as bytes."""

    def __init__(self, model_path: str | None) -> None:
        self._folder = None
        self._roots: tuple[str, ...] = ()
        self._sizes: dict[str, tuple[str, int]] = {}
        if model_path is not None:
            self._folder = os.path.dirname(os.path.abspath(model_path))
            self._roots = (os.path.realpath(self._folder), os.path.dirname(os.path.realpath(model_path)))

    def resolve(self, entries: Any, expected: int, tensor: str) -> FileRange:
        """The range for a tensor that needs `expected` bytes. `entries` are its external_data."""
        fields = {entry.key: entry.value for entry in entries}
        location = fields.get("location", "")
        if not location:
            raise InvalidModel("external data without a location", tensor=tensor)
        path, size = self._file(location, tensor)
        offset = _number(fields, "offset", 0, tensor)
        length = _number(fields, "length", expected, tensor)
        if length != expected:
            raise InvalidModel(
                f"external data '{location}' has length {length}, the tensor's type and shape need {expected}",
                tensor=tensor,
            )
        if offset + length > size:
            raise InvalidModel(
                f"external data '{location}' has {size} bytes, but bytes {offset} to {offset + length} are needed",
                tensor=tensor,
            )
        return FileRange(path, offset, length)

    def _file(self, location: str, tensor: str) -> tuple[str, int]:
        """Resolved path and size of a location; looked up once per location."""
        if location not in self._sizes:
            self._sizes[location] = self._look_up(location, tensor)
        return self._sizes[location]

    def _look_up(self, location: str, tensor: str) -> tuple[str, int]:
        if self._folder is None:
            raise InvalidModel(
                f"external data '{location}' cannot be found: the model was given as bytes, load it by its path",
                tensor=tensor,
            )
        parts = PurePosixPath(location.replace("\\", "/")).parts
        if not parts or "\0" in location or parts[0] == "/" or parts[0].endswith(":") or ".." in parts:
            raise InvalidModel(
                f"external data location {location!r} must be a relative path inside the model's folder", tensor=tensor
            )
        path = os.path.realpath(os.path.join(self._folder, *parts))
        if not any(os.path.commonpath((root, path)) == root for root in self._roots):
            raise InvalidModel(
                f"external data '{location}' is a link that leads outside the model's folder", tensor=tensor
            )
        try:
            status = os.stat(path)
        except OSError as error:
            raise InvalidModel(f"external data '{location}': {error.strerror} ('{path}')", tensor=tensor) from None
        if not stat.S_ISREG(status.st_mode):
            raise InvalidModel(f"external data '{location}' is not a regular file", tensor=tensor)
        return path, status.st_size


def _number(fields: dict[str, str], key: str, default: int, tensor: str) -> int:
    text = fields.get(key)
    if text is None:
        return default
    # 18 digits stay below 2^63, and int() would also take "1_0" or other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidModel(f"external data has {key} {text[:40]!r}, expected a number of bytes", tensor=tensor)
    return int(text)
