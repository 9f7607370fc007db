"""A world of real classes, small enough for a training step in a fraction of a second."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from lvis.backbone import WanTransformer
from lvis.distill.losses import Losses
from lvis.distill.module import Distillation
from lvis.distill.settings import Settings
from lvis.operators import GaussianBlur, Inpainting, LinearOperator
from lvis.vae.lean import LeanVAE
from lvis.vae.wan import WanVAE

FRAMES, HEIGHT, WIDTH = 9, 32, 32

DEFAULTS = {
    "likelihood_weight": 1.0,
    "likelihood_norm": "measurement",
    "likelihood_mean": "arithmetic",
    "prior_weight": 1.0,
    "prior_on_masked_only": True,
    "bridge": True,
    "guidance_scale": 3.5,
    "guidance_convention": "causvid",
    "shift": 8.0,
    "lowest_timestep": 20,
    "highest_timestep": 980,
    "warmup_steps": 0,
    "ramp": "linear",
    "likelihood_only_steps": 0,
    "critic_start_step": None,
    "ratio": 5,
    "critic_loss": "epsilon",
    "timestep": 522.0,
    "parametrization": "flow",
    "x_init": "lift",
    "block_size": 3,
    "student_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "decay_steps": None,
    "betas": (0.9, 0.999),
    "weight_decay": 0.01,
    "epsilon": 1e-8,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "use_text": True,
    "prompt_dropout": 0.0,
    "negative_prompt": "",
    "accumulate": 1,
    "autocast": "none",
    "checkpoint_activations": False,
    "bridge_block": 3,
    "bridge_group": 1,
    "attention": "blocks",
    "seed": 0,
}


def encode_text(prompts: Sequence[str]) -> Tensor:
    """An embedding a prompt; "" is zeros."""
    rows = [torch.full((4, 8), 0.1 * len(prompt)) for prompt in prompts]
    return torch.stack(rows)


def transformer() -> WanTransformer:
    torch.manual_seed(0)
    net = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        ffn_dim=32,
        text_dim=8,
        text_len=4,
        freq_dim=16,
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


def wan_vae() -> WanVAE:
    torch.manual_seed(1)
    return WanVAE(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 16,
        latents_std=[0.5] * 16,
    )


def lean_vae() -> LeanVAE:
    torch.manual_seed(2)
    return LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)


def build_losses(vae: str = "wan", operator: LinearOperator | None = None, **changes) -> Losses:
    teacher = transformer()
    teacher_vae = wan_vae()
    return Losses(
        student=copy.deepcopy(teacher),
        teacher=teacher,
        critic=copy.deepcopy(teacher),
        student_vae=teacher_vae if vae == "wan" else lean_vae(),
        teacher_vae=teacher_vae,
        operator=operator or GaussianBlur(size=5, sigma=1.0),
        encode_text=encode_text,
        settings=Settings.of({**DEFAULTS, **changes}),
    )


@pytest.fixture
def make_losses() -> Callable[..., Losses]:
    return build_losses


@pytest.fixture
def make_module() -> Callable[..., Distillation]:
    def build(vae: str = "wan", operator: LinearOperator | None = None, **changes) -> Distillation:
        return Distillation(build_losses(vae, operator, **changes))

    return build


def clips(count: int, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 3, 4, 4, generator=generator)
    video = nn.functional.interpolate(coarse, (FRAMES, HEIGHT, WIDTH), mode="trilinear").clamp(
        -1, 1
    )
    return {"video": video, "prompt": ["a red disk"] * count}


@pytest.fixture
def make_batch() -> Callable[..., dict]:
    return clips


@pytest.fixture
def inpainting() -> LinearOperator:
    return Inpainting(missing_share=0.5)


class Clips(torch.utils.data.IterableDataset):
    """Batch s is a function of s."""

    def __init__(self, batch_size: int, start: int) -> None:
        self.batch_size, self.start = batch_size, start

    def __len__(self) -> int:
        return 10_000

    def __iter__(self):
        for step in range(self.start, len(self)):
            yield clips(self.batch_size, seed=step)


@pytest.fixture
def fit() -> Callable[..., Distillation]:
    """Run the module's training loop up to `max_steps` under Lightning."""
    from lightning import Callback, Trainer

    class StopAt(Callback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_train_batch_end(self, trainer, module, *_) -> None:
            trainer.should_stop = module.step >= self.step

    class Outputs(Callback):
        def __init__(self) -> None:
            self.metrics: list[dict[str, float]] = []

        def on_train_batch_end(self, trainer, module, outputs, *_) -> None:
            self.metrics.append(dict(outputs))

    def run(module: Distillation, max_steps: int, batch_size: int = 1) -> list[dict[str, float]]:
        outputs = Outputs()
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[StopAt(max_steps), outputs],
        )
        trainer.fit(
            module, torch.utils.data.DataLoader(Clips(batch_size, module.step), batch_size=None)
        )
        return outputs.metrics

    return run


@pytest.fixture
def settings_values() -> dict:
    return DEFAULTS
