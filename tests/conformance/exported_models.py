"""Four nets of the transformers package with random weights, exported by PyTorch: what users' files look like."""

from __future__ import annotations

import importlib.util
import io
import warnings
from typing import Any

NAMES = ("resnet50", "mobilenet_v2", "bert_base", "minilm_l6")
MISSING = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]

_MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


def _net(name: str) -> Any:
    import transformers

    if name == "resnet50":
        return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=100))
    if name == "mobilenet_v2":
        return transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(num_labels=100))
    config = transformers.BertConfig(**(_MINILM if name == "minilm_l6" else {}))
    config._attn_implementation = "eager"  # the fused attention has no ONNX form
    return transformers.BertModel(config)


def _draw(net: Any, is_image: bool) -> None:
    """A fresh net's normalisations are identities, and its small kernels let pictures die out: something to see."""
    import torch

    with torch.no_grad():
        for key, value in [*net.named_parameters(), *net.named_buffers()]:
            if value.is_floating_point() and value.dim() == 1:
                value.add_(
                    0.1 * torch.rand_like(value) if key.endswith("running_var") else 0.1 * torch.randn_like(value)
                )
            elif value.dim() == 4 and is_image:
                value.normal_(std=(2 / value[0].numel()) ** 0.5)


def make(name: str) -> bytes:
    """The serialised model, with free "batch" and, for text, "sequence" dimensions."""
    import torch

    torch.manual_seed(0)
    is_image = name in ("resnet50", "mobilenet_v2")
    net = _net(name).eval()
    _draw(net, is_image)

    class FirstOutput(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *tensors: Any) -> Any:
            return self.net(*tensors)[0]

    if is_image:
        names, arguments = ["x"], (torch.randn(1, 3, 224, 224),)
        axes = {"x": {0: "batch"}}
    else:
        ids = torch.randint(0, 1000, (1, 24))
        names, arguments = ["input_ids", "attention_mask"], (ids, torch.ones_like(ids))
        axes = {key: {0: "batch", 1: "sequence"} for key in names}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # That this exporter is the older one, and that it takes branches for constants, is known: most files are its.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            FirstOutput(), arguments, file, input_names=names, output_names=["y"],
            dynamic_axes={**axes, "y": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return file.getvalue()
