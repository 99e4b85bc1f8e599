"""Attention as modules outside transformers write it. Needs torch."""

from __future__ import annotations

import torch
from torch import nn

torch.backends.mha.set_fastpath_enabled(False)  # it has no ONNX form


class Timm(nn.Module):
    """Queries, keys and values in one product, taken apart by a permutation: [batch, positions, size]."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, positions, size = x.shape
        of_head = size // self.heads
        split = self.qkv(x).reshape(batch, positions, 3, self.heads, of_head).permute(2, 0, 3, 1, 4)
        q, k, v = split.unbind(0)
        y = ((q * of_head**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, positions, size))


class Yolo(nn.Module):
    """Two heads in the channels, positions last: [batch, size, height, width]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.parts = [size // 4, size // 4, size // 2]
        self.qkv, self.proj = nn.Conv2d(size, 2 * size, 1), nn.Conv2d(size, size, 1)
        self.near = nn.Conv2d(size, size, 3, padding=1, groups=size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).flatten(2).view(x.shape[0], 2, x.shape[1], -1).split(self.parts, dim=2)
        weights = ((q.transpose(-2, -1) @ k) * self.parts[0] ** -0.5).softmax(-1)
        y = (v @ weights.transpose(-2, -1)).view(x.shape)
        return self.proj(y + self.near(v.reshape(x.shape)))


class MultiHead(nn.Module):
    """PyTorch's encoder and its attention, whose sequences come first inside: [batch, positions, size]."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(size, heads, 2 * size, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.attention = nn.MultiheadAttention(size, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(x)
        return self.attention(x, x, x, need_weights=False)[0]
