"""The native engine in Python: the only package that imports `ziggurat._native`."""

from __future__ import annotations

from ziggurat._native import Graph, GraphBuilder, kv_cache_bytes, quantize_rows, usable_isas
from ziggurat.engine.engine import Engine, default_engine
from ziggurat.engine.events import TokenEvent
from ziggurat.engine.generator import Generator
from ziggurat.engine.model import Batching, CancelToken, Model, Plan

__all__ = [
    "Batching",
    "CancelToken",
    "Engine",
    "Generator",
    "Graph",
    "GraphBuilder",
    "Model",
    "Plan",
    "TokenEvent",
    "default_engine",
    "kv_cache_bytes",
    "quantize_rows",
    "usable_isas",
]
