"""Which layers look back only so far."""

from __future__ import annotations

from collections.abc import Callable

from ziggurat.formats.architectures.config import Config


def layer_windows(config: Config, layers: int, sliding: Callable[[int], bool]) -> list[int | None]:
    """The window of each layer, None for all. `sliding` says which layers have one where the configuration has no
    layer_types."""
    if not config.has("sliding_window"):
        return [None] * layers
    window = config.integer("sliding_window")
    if not config.has("layer_types"):
        return [window if sliding(layer) else None for layer in range(layers)]
    kinds = config.list("layer_types", layers)[:layers]
    for kind in kinds:
        if kind not in ("sliding_attention", "full_attention"):
            raise config.error("layer_types", "sliding_attention or full_attention for each layer")
    return [window if kind == "sliding_attention" else None for kind in kinds]
