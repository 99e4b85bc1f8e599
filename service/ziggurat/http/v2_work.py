"""One V2 inference request, as serving computes it: from bytes to feeds, from arrays to a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.http import v2_feeds, v2_request, v2_response
from ziggurat.http.bodies import Framing, decompress
from ziggurat.serving.admission import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from ziggurat.engine import Model
    from ziggurat.http.tensors import Array
    from ziggurat.serving.registry import Entry
    from ziggurat.settings import LimitSettings

# Up to this many bytes of JSON are read before a request queues, so that its own timeout holds in the queue too: 0.2 ms
# on the event loop. Longer ones (tensors as JSON) wait as bytes, under the server's timeout, and are read on a thread.
EARLY_JSON = 16 << 10
EARLY_BODY = 64 << 10  # of a request that is answered on the event loop, tensors included


class V2Work:
    """Raises ZigguratError from the start where the head of a small request is wrong already."""

    def __init__(
        self, entry: Entry, body: bytes | memoryview, framing: Framing, limits: LimitSettings, begin: float
    ) -> None:
        self._entry = entry
        self._body = body
        self._framing = framing
        self._limits = limits
        self._begin = begin
        self._request: v2_request.Request | None = None
        head = len(body) if framing.header_length is None else framing.header_length
        self.light = framing.encoding is None and head <= EARLY_JSON
        self.small = self.light and len(body) <= EARLY_BODY
        if self.light:
            self._request = v2_request.parse(body, framing.header_length)
        # A request that is not read before it queues cannot say how urgent it is.
        self.priority = DEFAULT_PRIORITY if self._request is None else self._request.priority
        self.deadline = self._deadline()

    def read(self, model: Model) -> dict[str, Array]:
        request = self._request
        if request is None:
            body, encoding = self._body, self._framing.encoding
            plain = decompress(body, encoding, self._limits.body) if encoding else body
            request = self._request = v2_request.parse(plain, self._framing.header_length)
            self.deadline = self._deadline()
        if request.outputs:
            v2_feeds.check_outputs(request.outputs, model.outputs)
        return v2_feeds.feeds(request, model.inputs)

    def write(self, arrays: dict[str, Array]) -> v2_response.Body:
        entry, request = self._entry, self._request
        assert request is not None  # noqa: S101 - read() came first
        answer = v2_response.encode(request, entry.name, entry.version, arrays, entry.config.labels)
        # On this thread, as the event loop would take milliseconds to free a hundred thousand strings.
        self._body = b""
        request.inputs.clear()
        request.raw = memoryview(b"")
        return answer

    def _deadline(self) -> float | None:
        seconds = self._request.timeout if self._request is not None else None
        seconds = seconds or self._entry.config.timeout or self._limits.timeout
        return self._begin + seconds if seconds else None
