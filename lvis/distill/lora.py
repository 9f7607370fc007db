"""Low-rank adapters (LoRA, Hu et al. 2021) for student and critic, by peft.

W x + (alpha / rank) B (A x): only A and B are trained. The frozen W is the teacher's own tensor, so that one
copy of it serves the three networks of a process. What does not start as the teacher's (a zeroed head, an
embedding with channels for the operator) is trained whole beside the adapters.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lvis.backbone import WanTransformer
from lvis.cli.schema import Count, Positive
from lvis.distill.parallel import whole
from lvis.errors import UserError
from lvis.weights.safe import write_tensors

Target = Literal["self_attention", "text_attention", "feed_forward"]
LAYERS: dict[Target, str] = {
    "self_attention": r"attn1\.(to_[qkv]|to_out\.0)",
    "text_attention": r"attn2\.(to_[qkv]|to_out\.0)",
    "feed_forward": r"ffn\.net\.(0\.proj|2)",
}
FILE = "pytorch_lora_weights.safetensors"  # what diffusers' load_lora_weights looks for
_BASE, _A, _B = ".base_layer", ".lora_A.default.weight", ".lora_B.default.weight"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Lora:
    """`distill.lora`.

    Attributes:
        rank: of the change of each matrix.
        alpha: the change is multiplied by alpha / rank; None = rank.
        targets: which matrices of each block.
    """

    rank: Count
    alpha: Positive | None = None
    targets: tuple[Target, ...] = tuple(LAYERS)

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError(f"should name targets: some of {', '.join(LAYERS)}")

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def pattern(self) -> str:
        """A regular expression of the adapted layers' names."""
        return rf"blocks\.\d+\.({'|'.join(LAYERS[target] for target in self.targets)})"


def adapted(net: WanTransformer, lora: Lora, seed: int = 0) -> WanTransformer:
    """A network that shares `net`'s parameters, frozen, and has adapters of its own in float32.

    It starts as `net`: B is zero.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("distill.lora needs peft: pip install 'lvis[lora]'") from error
    shared = copy.deepcopy(net, {id(parameter): parameter for parameter in net.parameters()})
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scale * lora.rank,  # type: ignore[arg-type]  # peft only multiplies by it
        target_modules=lora.pattern,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, shared.net)
    for name, parameter in shared.named_parameters():
        if _is_adapter(name):
            parameter.data = parameter.data.float()
    return shared


def train_whole(module: nn.Module) -> None:
    """Give a module parameters of its own, float32 and trained."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(parameter.detach().float().clone()))


def trained(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that training changes, by name: all of a network without adapters."""
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            yield name, parameter


def merged_state(
    net: WanTransformer, values: Mapping[str, Tensor], lora: Lora | None
) -> dict[str, Tensor]:
    """The weights in diffusers' layout, float32, with the adapters' changes added.

    Every process must ask: shared-out tensors are put together.

    Args:
        values: what to take in place of the trained parameters, by their names in `net`.
    """
    state: dict[str, Tensor] = {}
    for name, parameter in net.named_parameters():
        value = whole(values.get(name, parameter)).detach().float()
        state[name.removeprefix("net.")] = value
    if lora is None:
        return state
    for key in [key for key in state if key.endswith(_B)]:
        layer = key.removesuffix(_B)
        change = lora.scale * (state.pop(key) @ state.pop(layer + _A))
        weight = f"{layer}{_BASE}.weight"
        state[weight] = state[weight] + change
    return {key.replace(_BASE, ""): value for key, value in state.items()}


def save_adapters(folder: Path, values: Mapping[str, Tensor], lora: Lora) -> None:
    """Write the adapters as diffusers' `load_lora_weights(folder)` reads them.

    alpha / rank is part of B, as a file without its alpha is read.

    Args:
        values: every trained parameter by its name, whole.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in values.items():
        key = f"transformer.{name.removeprefix('net.')}".replace(".default.", ".")
        scaled = value * lora.scale if name.endswith(_B) else value
        tensors[key] = scaled.detach().cpu().contiguous()
    write_tensors(folder / FILE, tensors, {"format": "pt"})


def adapters_alone(net: nn.Module) -> bool:
    """Whether the adapters are all that training changes."""
    return all(_is_adapter(name) for name, _ in trained(net))


def _is_adapter(name: str) -> bool:
    return name.endswith((_A, _B))
