"""Reading a request's body within its limits, and noticing that a client has left."""

from __future__ import annotations

import asyncio
import mmap
import re
import zlib
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ziggurat.errors import Cancelled, DeadlineExceeded, InvalidArgument, TooLarge
from ziggurat.http.problems import UnsupportedMediaType

if TYPE_CHECKING:
    from starlette.types import Receive

# Media types that cannot be meant as JSON or tensors. Others pass: curl's -d, for one, says it sends a form.
_WRONG_TYPES = (b"multipart/", b"image/", b"audio/", b"video/", b"text/html", b"text/xml", b"application/xml")

# Who names one of ours alone wants it. Longer lists ("gzip, deflate, br") are what clients send by habit: they would
# pay for the compression with more time than the transfer takes.
_ACCEPTS = {b"gzip": "gzip", b"deflate": "deflate"}

# Bytes that are decompressed at a time: what follows a member's end is copied.
_PIECE = 1 << 16


class Framing:
    """What the headers say about a body."""

    __slots__ = ("accept", "encoding", "header_length", "length")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.length: int | None = None
        self.header_length: int | None = None
        self.encoding: str | None = None
        self.accept: str | None = None  # the encoding that the client wants for the answer
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value)  # the HTTP parser lets nothing but digits through
            elif name == b"inference-header-content-length":
                self.header_length = _header_length(value)
            elif name == b"content-type":
                _check_type(value)
            elif name == b"content-encoding":
                self.encoding = _encoding(value)
            elif name == b"accept-encoding":
                self.accept = _ACCEPTS.get(value) or _accepted(value)

    def check(self, limit: int) -> None:
        if self.length is not None and self.length > limit:
            raise TooLarge(f"the body has {self.length} bytes, the limit is {limit}")


def _header_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        text = value.decode("latin-1")
        raise InvalidArgument(f"Inference-Header-Content-Length must be a number of bytes, got '{text}'")
    return int(value)


def _check_type(value: bytes) -> None:
    if value.lower().lstrip().startswith(_WRONG_TYPES):
        kind = value.decode("latin-1")
        raise UnsupportedMediaType(f"content type '{kind}' is neither JSON nor application/octet-stream")


def _accepted(value: bytes) -> str | None:
    name, _, weight = value.lower().partition(b";")
    match = re.fullmatch(rb"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", weight) if weight else None
    refused = bool(weight) and (match is None or float(match[1]) == 0)
    return None if refused else _ACCEPTS.get(name.strip())


def _encoding(value: bytes) -> str | None:
    encoding = value.decode("latin-1").strip().lower()
    if encoding not in ("gzip", "deflate", "identity"):
        raise UnsupportedMediaType(f"content encoding '{encoding}' is not supported, only gzip and deflate")
    return None if encoding == "identity" else encoding


def decompress(body: bytes | memoryview, encoding: str, limit: int) -> bytes:
    """Takes no more memory than `limit`, whatever the body claims to hold. Gzip may come in several members."""
    view, plain, size, at = memoryview(body), [], 0, 0
    machine = _decompressor(encoding)
    while at < len(view):
        if machine.eof and encoding == "gzip":
            machine = _decompressor(encoding)
        elif machine.eof:
            break
        try:
            plain.append(machine.decompress(view[at : at + _PIECE], limit + 1 - size))
        except zlib.error as error:
            if at > 0:
                break
            raise InvalidArgument(f"the body is not {encoding}: {error}") from None
        size += len(plain[-1])
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes when decompressed, which is the limit")
        at = min(at + _PIECE, len(view)) - len(machine.unused_data)
    if at < len(view) or not machine.eof:
        raise InvalidArgument(f"the body is not one whole {encoding} stream")
    return b"".join(plain)


def _decompressor(encoding: str) -> zlib._Decompress:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))


async def read_body(
    receive: Receive, limit: int, seconds: float | None, length: int | None = None
) -> bytes | memoryview:
    """The whole body; raises TooLarge, DeadlineExceeded when it takes too long, Cancelled when the client leaves.

    With its `length` a body of many messages is put together piece by piece as they come: doing so at the end would
    hold the event loop for the copy of the whole.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return _limited(message.get("body", b""), limit)
    parts = Pieces(length if length is not None and length <= limit else None)
    try:
        async with asyncio.timeout(seconds):
            while message["type"] == "http.request":
                parts.add(message.get("body", b""))
                if parts.size > limit:
                    raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
                if not message.get("more_body", False):
                    return parts.whole()
                message = await receive()
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {seconds} s") from None
    raise Cancelled("the client left while it sent the body")


class Pieces:
    """A body that comes in pieces, in memory of its `length` where that is known."""

    def __init__(self, length: int | None) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        # Not a bytearray, which would be filled with zeros first, all at once; nor an array, whose huge pages the
        # system may have to put together first.
        self._whole = memoryview(mmap.mmap(-1, length)) if length else None

    def add(self, part: bytes) -> None:
        if self._whole is None:
            self._parts.append(part)
        else:
            self._whole[self.size : self.size + len(part)] = part  # the parser lets no more than the length through
        self.size += len(part)

    def whole(self) -> bytes | memoryview:
        return b"".join(self._parts) if self._whole is None else self._whole


def _limited(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise TooLarge(f"the body has {len(body)} bytes, the limit is {limit}")
    return body


class Presence:
    """Cancels the task it was made in when the client leaves; `left` says that it did.

    Watching costs a task, so it begins only for requests that take longer than `delay` seconds.
    """

    def __init__(self, receive: Receive, delay: float = 0.005) -> None:
        self.left = False
        self._receive = receive
        self._delay = delay
        self._owner = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Presence:
        self._timer = asyncio.get_running_loop().call_later(self._delay, self._begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        # The task holds this object: a circle would keep both, and a body of megabytes, for the garbage collector.
        self._owner = self._watch = None

    def _begin(self) -> None:
        self._watch = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._owner is not None:
            self._owner.cancel()
