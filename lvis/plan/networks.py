"""The nets of a distillation in their sizes and dtypes, without a byte of their weights."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lvis.backbone.sequence import SequenceParallel
from lvis.distill.build import networks
from lvis.distill.lora import trained
from lvis.distill.losses import Losses
from lvis.distill.settings import Settings
from lvis.weights.load import parameters_on_meta


class Embeddings(nn.Module):
    """Stands for the text encoder: embeddings (B, text_len, text_dim) of zeros, float32."""

    def __init__(self, text_len: int, text_dim: int) -> None:
        super().__init__()
        self.shape = (text_len, text_dim)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), *self.shape)


class OneOfSeveral(SequenceParallel):
    """The share of one process in the tokens of a clip, where the others are not there: shapes without values."""

    def __init__(self, size: int) -> None:
        self.size, self.rank = size, 0

    def exchanged(self, parts: Tensor) -> Tensor:
        return torch.empty_like(parts)

    def gathered(self, run: Tensor, dim: int) -> Tensor:
        return torch.cat([torch.empty_like(run) for _ in range(self.size)], dim)

    def summed(self, tensor: Tensor) -> Tensor:
        return tensor


def fake_mode() -> FakeTensorMode:
    """A world of tensors without storage; the operator's own few numbers may stay real."""
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def within(mode: FakeTensorMode) -> Iterator[None]:
    """Tensors made inside have no storage, and none of them stays in a cache of lvis."""
    forget_caches()
    try:
        with mode:
            yield
    finally:
        forget_caches()


def forget_caches() -> None:
    modules = [module for name, module in sys.modules.items() if name.startswith("lvis.")]
    for module in modules:
        for value in vars(module).values():
            clear = getattr(value, "cache_clear", None)
            if clear is not None and not isinstance(value, type):
                clear()


def planned_losses(cfg: DictConfig, settings: Settings, mode: FakeTensorMode) -> Losses:
    """What `lvis.distill.build.build_losses` makes, with fake parameters and a stand-in for the
    text encoder.

    Raises:
        UserError: a config from which the sizes cannot be told.
    """
    teacher = without_storage(cfg.model.teacher)
    teacher_vae = without_storage(cfg.model.teacher_vae)
    lean = cfg.vae.name != "wan"
    student_vae = without_storage(cfg.vae.module) if lean else teacher_vae
    text_len = teacher.text_len or int(cfg.model.text_len)
    with parameters_on_meta():
        student, teacher, critic = networks(_from_teacher(cfg), settings, teacher)
    fakes: dict[nn.Parameter, nn.Parameter] = {}
    for net in (student, teacher, critic, teacher_vae, student_vae):
        make_fake(net, mode, fakes)
    losses = Losses(
        student=student,
        teacher=teacher,
        critic=critic,
        student_vae=student_vae,
        teacher_vae=teacher_vae,
        operator=instantiate(cfg.task.operator),
        encode_text=Embeddings(text_len, teacher.text_dim),
        settings=settings,
    )
    if cfg.trainer.sequence_parallel > 1:
        for net in (student, teacher, critic):
            net.sequence = OneOfSeveral(cfg.trainer.sequence_parallel)
    for vae in (student_vae, teacher_vae):
        as_on_a_gpu(vae)
    return losses


def without_storage(node: DictConfig) -> Any:
    """The module of a `weights=` node of conf/model, its parameters on the meta device."""
    plain: Any = OmegaConf.to_container(node, resolve=True)
    with parameters_on_meta():
        return instantiate({**plain, "weights": "random"})


def _from_teacher(cfg: DictConfig) -> Any:
    """The configuration without another student's weights, which would be read."""
    return OmegaConf.merge(cfg, {"distill": {"student_from": None}})


def make_fake(net: nn.Module, mode: FakeTensorMode, made: dict[nn.Parameter, nn.Parameter]) -> None:
    """Replace a module's parameters and buffers by fake ones on the CPU, in place.

    Args:
        made: the fake ones by what they stand for; what networks share, they go on sharing.
    """
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.device.type == "meta":
                if parameter not in made:
                    with mode:
                        fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                    made[parameter] = nn.Parameter(fake, parameter.requires_grad)
                setattr(module, name, made[parameter])
        for name, buffer in list(module.named_buffers(recurse=False)):
            with mode:
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def as_on_a_gpu(vae: Any) -> None:
    """Let a VAE's bfloat16 be float16: of the same size, and without the detours that the VAEs take
    for bfloat16 on a CPU (lvis/vae/wan_layers.py), where fake tensors pretend to be."""
    for name in ("encode_dtype", "decode_dtype"):
        if getattr(vae, name) == torch.bfloat16:
            setattr(vae, name, torch.float16)


def parameter_bytes(net: nn.Module, seen: set[int] | None = None) -> int:
    """Bytes of a module's parameters.

    Args:
        seen: ids of parameters that are counted already; the module's are added.
    """
    seen = set() if seen is None else seen
    fresh = [p for p in net.parameters() if id(p) not in seen]
    seen.update(id(p) for p in fresh)
    return sum(p.numel() * p.element_size() for p in fresh)


def trained_bytes(net: nn.Module) -> int:
    """Bytes of the parameters that training changes."""
    return sum(p.numel() * p.element_size() for _, p in trained(net))
