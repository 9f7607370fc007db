"""The plan of a training step beside the same step on a CUDA device without a GPU (lvis.fakecuda): fake_cuda.json.

python experiments/plan/fake_cuda.py [OVERRIDE ...]

One clip, forward, backward and AdamW, of a preset with adapters.
"""

import json
import sys
from pathlib import Path

import torch
from hydra.utils import instantiate

from lvis.cli.config import compose
from lvis.distill.build import networks, settings_from
from lvis.distill.lora import trained
from lvis.distill.losses import Losses
from lvis.distill.randomness import Draws
from lvis.fakecuda import move_to_fake
from lvis.fakecuda.streams import recorded
from lvis.files import write_text
from lvis.plan.command import plan
from lvis.plan.networks import Embeddings, without_storage
from lvis.weights.load import parameters_on_meta

HERE = Path(__file__).parent
WORDS = ["experiment=instantvir_lora", "task=deblur", "vae=lean", "distill.batch_sizes.lean=1"]


def world(cfg) -> Losses:
    settings = settings_from(cfg)
    with parameters_on_meta():
        student, teacher, critic = networks(cfg, settings, without_storage(cfg.model.teacher))
    share_on_fake(student, teacher, critic)
    teacher_vae = without_storage(cfg.model.teacher_vae)
    student_vae = teacher_vae if cfg.vae.name == "wan" else without_storage(cfg.vae.module)
    for vae in (teacher_vae, student_vae):
        move_to_fake(vae)
    return Losses(
        student=student,
        teacher=teacher,
        critic=critic,
        student_vae=student_vae,
        teacher_vae=teacher_vae,
        operator=instantiate(cfg.task.operator),
        encode_text=Embeddings(int(cfg.model.text_len), teacher.text_dim),
        settings=settings,
    )


def share_on_fake(*nets: torch.nn.Module) -> None:
    """As `move_to_fake`, what the nets share going on being shared."""
    fakes = {}
    for parameter in (p for net in nets for p in net.parameters()):
        if parameter not in fakes:
            fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cuda")
            fakes[parameter] = torch.nn.Parameter(fake, parameter.requires_grad)
    for module in {m for net in nets for m in net.modules()}:
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = fakes[parameter]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")


def step(losses: Losses, optimisers: dict, shape: tuple[int, ...]) -> None:
    draws = Draws(0, 0, range(1))
    clean = torch.zeros(shape, device="cuda")
    measured = losses.measure(clean, [""], draws["measurement"])
    terms, target = losses.student_terms(measured, draws, 1.0)
    for net, loss in (
        (losses.student, lambda: terms.pop("total")),
        (losses.critic, lambda: losses.critic_term(target, measured.prompts, draws)),
    ):
        loss().backward()
        optimisers[net].step()
        optimisers[net].zero_grad(set_to_none=True)


def main() -> None:
    words = [*WORDS, *sys.argv[1:]]
    cfg = compose("train", [*words, "output=x"])
    shape = (1, 3, int(cfg.distill.frames), *cfg.distill.size)
    with recorded() as recorder:
        recorder.engine_on_cpu = True
        losses = world(cfg)
        nets = (losses.student, losses.critic)
        optimisers = {n: torch.optim.AdamW([p for _, p in trained(n)], lr=1e-6) for n in nets}
        for _ in range(2):
            recorder.forget_peak()
            step(losses, optimisers, shape)
        peak = recorder.peak
    planned = plan(compose("plan", words))["memory"]
    # no average was made on the fake device
    average = planned["persistent"]["student average (EMA)"]
    expected = planned["peak_bytes"] - average
    found = {
        "command": " ".join(words),
        "fake": peak,
        "planned": expected,
        "ratio": expected / peak,
    }
    path = HERE / "fake_cuda.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [row for row in rows if row["command"] != found["command"]] + [found]
    write_text(path, json.dumps(rows, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
