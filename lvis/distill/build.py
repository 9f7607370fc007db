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
    teacher = instantiate(cfg.model.teacher)
    teacher_vae = instantiate(cfg.model.teacher_vae)
    student = _student(cfg, teacher)
    critic = copy.deepcopy(teacher).float()
    return Losses(
        student=student,
        teacher=teacher.to(to_dtype(cfg.distill.teacher_dtype)),
        critic=critic,
        student_vae=teacher_vae if cfg.vae.name == "wan" else instantiate(cfg.vae.module),
        teacher_vae=teacher_vae,
        operator=instantiate(cfg.task.operator),
        encode_text=_text_encoder(cfg),
        settings=settings,
    )


def _student(cfg: DictConfig, teacher: WanTransformer) -> WanTransformer:
    if cfg.distill.student_from is None:
        student = copy.deepcopy(teacher)
    else:
        student, _ = load_student(cfg.distill.student_from)
    if cfg.distill.student_sees_operator and student.in_channels == student.out_channels:
        student = with_channels(student, CHANNELS)
    if cfg.distill.zero_head:
        head = student.net.proj_out
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return student.float()


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
