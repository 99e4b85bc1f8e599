"""The engine: threads, memory, devices and packed weights that models share."""

from __future__ import annotations

import os
from typing import Any

from ziggurat import _native
from ziggurat.errors import InvalidArgument, Unavailable


class Engine:
    """All state that models share. Two engines in one process share nothing.

    Threads do not survive fork(): in a child the parent's engine and its models raise Unavailable; make a new Engine.

    Args:
        threads: workers of the pool, the caller of a run included. Default: the CPUs that affinity and the cgroup
            quota allow; both are followed while it runs, up to the threads that it began with.
        memory_limit: bytes that models and runs may reserve together. Default: nine tenths of the machine's or the
            cgroup's memory.
        isa: the instruction set of the CPU kernels, one of `ziggurat.engine.usable_isas()`. Default: the strongest.
        cache_dir: where packed weights may be kept between processes. Accepted and not used yet.
        purge_after: seconds that memory may wait unused before it goes back to the operating system; 0: for ever.
        defragment_above: the share of waiting memory outside its largest piece above which weights move together.

    Raises:
        InvalidArgument: an option that this machine cannot serve; the message lists what it can.

    Example:
        >>> engine = ziggurat.Engine(threads=2)
        >>> model = ziggurat.load("resnet50.onnx", engine=engine)
    """

    def __init__(
        self,
        threads: int | None = None,
        memory_limit: int | None = None,
        isa: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        purge_after: float = 10.0,
        defragment_above: float = 0.3,
    ) -> None:
        if threads is not None and threads < 1:
            raise InvalidArgument(f"threads must be at least 1, not {threads}")
        if memory_limit is not None and memory_limit < 1:
            raise InvalidArgument(f"memory_limit must be at least 1 byte, not {memory_limit}")
        self.cache_dir = cache_dir
        self._core: _native.Engine | None = _native.Engine(
            threads or 0, memory_limit or 0, isa, purge_after, defragment_above
        )

    @property
    def core(self) -> _native.Engine:
        """The native engine. Raises Unavailable once closed."""
        if self._core is None:
            raise Unavailable("the engine is closed")
        return self._core

    @property
    def isa(self) -> str:
        """The instruction set in use: "sse42", "avx2", "avx512" or "avx512vnni"."""
        return self.core.isa

    @property
    def threads(self) -> int:
        return self.core.threads

    @property
    def threads_reason(self) -> str:
        """Why that many, in words."""
        return self.core.threads_reason

    def memory(self) -> dict[str, int]:
        """Bytes: `limit`, `reserved` now, `peak` reserved, `packed_weights`."""
        return self.core.memory()

    def pools(self) -> list[dict[str, Any]]:
        """For each pool (small, medium, large, weights): pool, hits, misses, used, cached, reserved, largest_free,
        moved, released (bytes), fragmentation (0..1) and defragmentations.
        """
        return self.core.pools()

    def devices(self) -> list[dict[str, str]]:
        """For each device: name, kind, description."""
        return self.core.devices()

    def purge(self) -> None:
        """Gives cached memory back to the operating system."""
        self.core.purge()

    def defragment(self) -> dict[str, Any]:
        """Puts idle memory together now: weights that no run holds move into holes, what waits goes back to the system.

        Returns:
            `moved` and `released` bytes, and the pools `before` and `after`.
        """
        return self.core.defragment()

    def close(self) -> None:
        """Lets go of the core. Models loaded with it keep it alive until they are closed."""
        self._core = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# The only variable of the process: the engine of `load(engine=None)`, and the process it belongs to. Threads do not
# survive fork(), so a child gets an engine of its own.
_default: tuple[int, Engine] | None = None


def default_engine() -> Engine:
    """The engine that `load` uses when it is given none; made on first use, made anew after fork()."""
    global _default
    if _default is None or _default[0] != os.getpid():
        _default = (os.getpid(), Engine())
    return _default[1]
