"""The nets and the operator of a distillation, from the composed configuration."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from lvis.backbone import NEGATIVE_PROMPT, PromptCache, WanTransformer
from lvis.cli.config import plain
from lvis.cli.schema import check_targets
from lvis.distill.lora import adapted, train_whole
from lvis.distill.losses import Losses
from lvis.distill.settings import Settings
from lvis.solvers.signature import CHANNELS
from lvis.weights import load_student, require
from lvis.weights.load import to_dtype


def settings_from(cfg: DictConfig) -> Settings:
    """`conf/distill`'s settings, checked.

    Raises:
        UserError: a value out of its range.
    """
    values = plain(cfg.distill)
    if values["negative_prompt"] == "wan":
        values["negative_prompt"] = NEGATIVE_PROMPT
    return Settings.of(values, seed=cfg.seed)


def build_losses(cfg: DictConfig, settings: Settings) -> Losses:
    """Load everything and start student and critic from the teacher (Algorithm 1, line 1).

    Raises:
        UserError: one sentence that names every part whose weights are missing.
    """
    parts = {
        "model.teacher": cfg.model.teacher,
        "model.teacher_vae": cfg.model.teacher_vae,
        "vae.module": cfg.vae.module,
        "model.text_encoder": cfg.model.text_encoder,
    }
    require(parts if cfg.vae.name != "wan" else _without(parts, "vae.module"))
    for part in (*parts.values(), cfg.task.operator):
        check_targets(part)
    teacher_vae = instantiate(cfg.model.teacher_vae)
    student, teacher, critic = networks(cfg, settings, instantiate(cfg.model.teacher))
    return Losses(
        student=student,
        teacher=teacher,
        critic=critic,
        student_vae=teacher_vae if cfg.vae.name == "wan" else instantiate(cfg.vae.module),
        teacher_vae=teacher_vae,
        operator=instantiate(cfg.task.operator),
        encode_text=_text_encoder(cfg),
        settings=settings,
    )


def networks(
    cfg: DictConfig, settings: Settings, teacher: WanTransformer
) -> tuple[WanTransformer, WanTransformer, WanTransformer]:
    """Student, teacher and critic, in their dtypes.

    Trained whole, student and critic are float32 copies of the teacher. With `distill.lora` they share
    its tensors in the dtype that it computes in, and their adapters are float32.

    Args:
        teacher: in float32; it may be changed.
    """
    origin = teacher
    if cfg.distill.student_from is not None:
        origin, _ = load_student(cfg.distill.student_from)
    if settings.lora is None:
        student, critic = copy.deepcopy(origin), copy.deepcopy(teacher).float()
        if cfg.distill.student_sees_operator:
            student = seeing_operator(student)
        if cfg.distill.zero_head:
            zero(student.net.proj_out)
        return student.float(), teacher.to(to_dtype(cfg.distill.teacher_dtype)), critic
    # without autocast the products of a frozen matrix are in its own dtype
    base = to_dtype(cfg.distill.teacher_dtype if settings.autocast == "bf16" else "float32")
    origin, teacher = origin.to(base), teacher.to(base)
    if cfg.distill.student_sees_operator:
        origin = seeing_operator(origin)
    student = adapted(origin, settings.lora, settings.seed)
    if student.in_channels != teacher.in_channels:
        train_whole(student.net.patch_embedding)
    if cfg.distill.zero_head:
        train_whole(student.net.proj_out)
        zero(student.net.proj_out)
    critic = adapted(teacher, settings.lora, settings.seed + 1)
    return student, teacher.to(to_dtype(cfg.distill.teacher_dtype)), critic


def zero(layer: nn.Linear) -> None:
    """Zero a layer's weight and bias."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def seeing_operator(transformer: WanTransformer) -> WanTransformer:
    """The transformer with input channels for the operator, where it has none yet."""
    if transformer.in_channels != transformer.out_channels:
        return transformer
    return with_channels(transformer, CHANNELS)


def with_channels(transformer: WanTransformer, count: int) -> WanTransformer:
    """The same transformer with `count` more input channels, whose weights are zero."""
    config = dict(transformer.net.config)
    config["in_channels"] = transformer.in_channels + count
    wider = WanTransformer.from_config(config, transformer.text_len)
    state = transformer.state_dict()
    key = "net.patch_embedding.weight"
    weight = state[key]
    more = weight.new_zeros(weight.shape[0], count, *weight.shape[2:])
    state[key] = torch.cat((weight, more), dim=1)
    wider.load_state_dict(state)
    return wider.to(transformer.device, transformer.dtype)


def _text_encoder(cfg: DictConfig) -> Callable[[Sequence[str]], Tensor]:
    """The text encoder itself, or with `distill.prompt_cache` its embeddings from the disk."""
    if cfg.distill.prompt_cache is None:
        return instantiate(cfg.model.text_encoder)
    return PromptCache(
        Path(cfg.distill.prompt_cache).expanduser(),
        cfg.model.text_encoder.source,
        lambda: instantiate(cfg.model.text_encoder),
        cfg.model.text_len,
    )


def _without(parts: dict[str, DictConfig], key: str) -> dict[str, DictConfig]:
    return {name: node for name, node in parts.items() if name != key}
