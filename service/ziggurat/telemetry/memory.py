"""What the engine does to its memory by itself, in the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PACE = 5.0  # seconds between two looks; the engine's own turns are as far apart


class HasPools(Protocol):
    def pools(self) -> list[dict[str, Any]]: ...


async def log_defragmentations(engine: HasPools, logger: FilteringBoundLogger, pace: float = PACE) -> None:
    """Logs each pool whose blocks were moved since the last look, until cancelled."""
    seen = {str(pool["pool"]): pool for pool in engine.pools()}
    while True:
        await asyncio.sleep(pace)
        for pool in engine.pools():
            name, last = str(pool["pool"]), seen[str(pool["pool"])]
            if pool["defragmentations"] > last["defragmentations"]:
                logger.info(
                    "memory defragmented",
                    pool=name,
                    moved=pool["moved"] - last["moved"],
                    fragmentation_before=round(last["fragmentation"], 3),
                    fragmentation=round(pool["fragmentation"], 3),
                    reserved_before=last["reserved"],
                    reserved=pool["reserved"],
                )
            seen[name] = pool
