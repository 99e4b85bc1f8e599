"""Nets whose attention exporters spell differently: small ones with random weights, exported by PyTorch.

The modules are what nets of other packages write: vision transformers of timm, YOLO's attention over a picture's
positions, PyTorch's own nn.MultiheadAttention.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

MISSING = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]

_HIDDEN, _HEADS, _WORDS = 32, 4, 100
_ENCODER = {
    "hidden_size": _HIDDEN, "num_hidden_layers": 2, "num_attention_heads": _HEADS, "intermediate_size": 64
}  # fmt: skip
_PICTURE = {**_ENCODER, "image_size": 32, "patch_size": 8}
_RELATIVE = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 16, "position_buckets": 8,
    "share_att_key": True, "norm_rel_ebd": "layer_norm",
}  # fmt: skip
_SEQ2SEQ = {
    "d_model": _HIDDEN, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": _HEADS,
    "decoder_attention_heads": _HEADS, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "use_cache": False,
}  # fmt: skip
_T5 = {"d_model": _HIDDEN, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": _HEADS, "use_cache": False}
_WAVES = {
    **_ENCODER, "conv_dim": [16, 16], "conv_stride": [4, 4], "conv_kernel": [8, 8], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_WINDOWS = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 2}
_MOBILE = {
    "hidden_sizes": [24, 32, 40], "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64], "num_attention_heads": _HEADS,
    "image_size": 128,
}  # fmt: skip


def _words() -> dict[str, Any]:
    import torch

    ids = torch.randint(3, _WORDS, (3, 7))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _sentences() -> dict[str, Any]:
    import torch

    return {**_words(), "decoder_input_ids": torch.randint(3, _WORDS, (3, 5))}


def _drawn(name: str, *shape: int) -> Callable[[], dict[str, Any]]:
    def draw() -> dict[str, Any]:
        import torch

        return {name: torch.randn(*shape)}

    return draw


# Of transformers: the net, what its configuration is asked for, its inputs, and how many attentions it has.
_NETS: dict[str, tuple[str, dict[str, Any], Callable[[], dict[str, Any]], int]] = {
    "bert": ("Bert", _ENCODER, _words, 2),
    "mpnet": ("MPNet", _ENCODER, _words, 2),
    "deberta": ("Deberta", {**_ENCODER, **_RELATIVE}, _words, 2),
    "deberta_v2": ("DebertaV2", {**_ENCODER, **_RELATIVE}, _words, 2),
    "gpt2": ("GPT2", {"n_embd": _HIDDEN, "n_layer": 2, "n_head": _HEADS, "use_cache": False}, _words, 2),
    "llama": ("Llama", {**_ENCODER, "num_key_value_heads": 2, "use_cache": False}, _words, 2),
    "t5": ("T5", _T5, _sentences, 6),
    "bart": ("Bart", _SEQ2SEQ, _sentences, 6),
    "wav2vec2": ("Wav2Vec2", _WAVES, _drawn("input_values", 3, 400), 2),
    "vit": ("ViT", _PICTURE, _drawn("pixel_values", 3, 3, 32, 32), 2),
    "beit": ("Beit", {**_PICTURE, "use_relative_position_bias": True}, _drawn("pixel_values", 3, 3, 32, 32), 2),
    "swin": ("Swin", _WINDOWS, _drawn("pixel_values", 3, 3, 32, 32), 4),
    "mobilevit": ("MobileViT", _MOBILE, _drawn("pixel_values", 3, 3, 128, 128), 9),
}
_MODULES = {"multihead": 3, "timm": 1, "yolo": 1}
NAMES = (*_NETS, *_MODULES)
ATTENTIONS = {**{name: net[3] for name, net in _NETS.items()}, **_MODULES}


def _transformer(name: str, spelling: str) -> tuple[Any, dict[str, Any]]:
    import transformers

    family, settings, draw, _ = _NETS[name]
    inputs = draw()
    if "input_ids" in inputs:
        settings = {**settings, "vocab_size": _WORDS}
    config = getattr(transformers, f"{family}Config")(**settings)
    config._attn_implementation = spelling
    return getattr(transformers, f"{family}Model")(config), inputs


def _module(name: str) -> tuple[Any, dict[str, Any]]:
    import torch

    from tests.conformance import attention_modules

    if name == "yolo":
        return attention_modules.Yolo(_HIDDEN), {"x": torch.randn(3, _HIDDEN, 6, 6)}
    kind = attention_modules.Timm if name == "timm" else attention_modules.MultiHead
    return kind(_HIDDEN, _HEADS), {"x": torch.randn(3, 9, _HIDDEN)}


def _export(model: Any, tensors: dict[str, Any], dynamo: bool) -> bytes:
    import torch

    def axes(key: str) -> dict[int, str]:
        is_words = tensors[key].dtype == torch.int64
        return {0: "batch", **({1: "targets" if "decoder" in key else "sequence"} if is_words else {})}

    keys, arguments, file = list(tensors), tuple(tensors.values()), io.BytesIO()
    if dynamo:
        dims = {axis: torch.export.Dim(axis) for axis in ("batch", "sequence", "targets")}
        shapes = tuple({axis: dims[dim] for axis, dim in axes(key).items()} for key in keys)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model, arguments, input_names=keys, output_names=["y"], dynamic_shapes=(shapes,), dynamo=True, verbose=False
        )
        assert program is not None
        program.save(file)
    else:
        torch.onnx.export(
            model, arguments, file, input_names=keys, output_names=["y"], opset_version=17, dynamo=False,
            dynamic_axes={key: axes(key) for key in keys},
        )  # fmt: skip
    return file.getvalue()


def make(name: str, spelling: str = "eager", dynamo: bool = False) -> tuple[bytes, dict[str, np.ndarray], np.ndarray]:
    """The serialised model with a free "batch", inputs for it, and what PyTorch makes of them.

    `spelling`: "eager" or "sdpa", as transformers calls them. `dynamo`: by PyTorch's newer exporter.
    """
    import torch

    torch.manual_seed(0)
    net, tensors = _transformer(name, spelling) if name in _NETS else _module(name)
    keys = list(tensors)

    class FirstOutput(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net.eval()

        def forward(self, *values: Any) -> Any:
            y = self.net(**dict(zip(keys, values, strict=True)))
            return y if torch.is_tensor(y) else y[0]

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for weights in net.parameters():  # a fresh net's weights are so small that all positions are looked at alike
            weights.copy_(weights + 0.1 * torch.randn_like(weights) if weights.dim() == 1 else 4 * weights)
        model = FirstOutput()
        want = model(*tensors.values()).numpy()
        return _export(model, tensors, dynamo), {key: tensor.numpy() for key, tensor in tensors.items()}, want
