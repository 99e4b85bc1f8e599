"""Where a model's bytes come from: a regular file, read by position, or a buffer in memory.

A file is never mapped: another process that truncates a mapped file kills every reader with SIGBUS.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from ziggurat.errors import InvalidModel, NotFound

Buffer: TypeAlias = bytes | bytearray | memoryview

# One pread of this size serves thousands of small protobuf fields.
WINDOW_BYTES = 1 << 16


class Source:
    """Bytes by position. `path` is the resolved file that native code may read again, None for a buffer."""

    path: str | None = None
    folder: str | None = None
    size: int = 0

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Exactly `length` bytes from `offset`; the caller stays inside `size`."""
        raise NotImplementedError

    def window(self, offset: int) -> bytes | memoryview:
        """At least one byte from `offset` on, as many as are cheap to have at once."""
        return self.read(offset, min(WINDOW_BYTES, self.size - offset))

    def close(self) -> None:
        """Releases what the source holds. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemorySource(Source):
    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def read(self, offset: int, length: int) -> memoryview:
        return self._view[offset : offset + length]

    def window(self, offset: int) -> memoryview:
        return self._view[offset:]


class FileSource(Source):
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.given = os.fspath(path)
        self.folder = str(Path(self.given).parent)
        self._fd = _open_regular(self.given)
        self.size = os.fstat(self._fd).st_size
        self.path = os.path.realpath(self.given)

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            # Linux hands out at most 2 GiB - 4 KiB a call, so long reads come in several.
            part = os.pread(self._fd, min(length, 1 << 30), offset)
            if not part:
                raise InvalidModel(f"'{self.given}' became shorter while it was being read (at byte {offset})")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_source(source: str | os.PathLike[str] | Buffer) -> Source:
    """A path is opened, anything with the buffer protocol is borrowed."""
    if isinstance(source, str | os.PathLike):
        return FileSource(source)
    return MemorySource(source)


def _open_regular(path: str) -> int:
    """Opens without ever blocking: a FIFO or a device under a model's name is refused, not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"model file '{path}' does not exist") from None
    except (OSError, ValueError) as error:
        raise InvalidModel(f"model file '{path}' cannot be opened: {error}") from None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InvalidModel(f"'{path}' is {kind}; expected a model file")
    return fd
