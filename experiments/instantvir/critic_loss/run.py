"""What the supplement's critic loss costs at shift 8: python experiments/instantvir/critic_loss/run.py [STEPS]

The critic starts from the tiny teacher and learns the bundled lean inpainting student's own outputs (teacher latents,
with the bridge), once with `distill.critic_loss=flow` and once with `epsilon`: the same clips, noises and timesteps.
Then the mean squared error of its velocity on outputs from other clips, by timestep. Writes results.json.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from lvis.backbone import flow
from lvis.cli.config import compose
from lvis.data.synthetic import SyntheticVideos
from lvis.distill.build import build_losses, settings_from
from lvis.distill.losses import Losses
from lvis.distill.randomness import Draws
from lvis.files import write_text
from lvis.provenance import code_version, machine, today

HERE = Path(__file__).parent
KINDS = ("flow", "epsilon")
TRAINED, HELD_OUT = 24, 6
TIMESTEPS = (100, 300, 500, 700, 800, 900, 960)


def outputs(losses: Losses, split: str, count: int) -> list[tuple[Tensor, tuple[str, ...]]]:
    """z_target of the student's restorations, with their prompts."""
    clips = SyntheticVideos(0, 21, (128, 128), split, length=count)
    found = []
    for number in range(count):
        clip = clips[number]
        drawn = Draws(0, number, range(1))["measurement"]
        measurement = losses.measure(clip["video"][None], [clip["prompt"]], drawn)
        found.append((losses.critic_target(measurement), measurement.prompts))
    return found


def errors(losses: Losses, held_out: list[tuple[Tensor, tuple[str, ...]]]) -> dict[int, float]:
    """Mean squared error of the critic's velocity at each timestep."""
    found = {}
    with torch.no_grad():
        for t in TIMESTEPS:
            total = 0.0
            for number, (target, prompts) in enumerate(held_out):
                generator = torch.Generator().manual_seed(1000 * number + t)
                noise = torch.randn(target.shape, generator=generator)
                timestep = torch.full((1,), float(t))
                noised = flow.add_noise(target, noise, timestep / 1000)
                velocity = losses.critic(noised, timestep, losses.encode_text(list(prompts)))
                total += (velocity - (noise - target)).square().mean().item()
            found[t] = total / len(held_out)
    return found


def trained(losses: Losses, targets: list[tuple[Tensor, tuple[str, ...]]], steps: int) -> None:
    settings = losses.settings
    optimizer = torch.optim.AdamW(
        losses.critic.parameters(), lr=settings.critic_learning_rate, betas=settings.betas,
        eps=settings.epsilon, weight_decay=settings.weight_decay,
    )  # fmt: skip
    for step in range(steps):
        target, prompts = targets[step % len(targets)]
        losses.critic_term(target, prompts, Draws(0, step, range(1))).backward()
        nn.utils.clip_grad_norm_(losses.critic.parameters(), settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def main() -> None:
    torch.set_num_threads(1)
    steps = int(sys.argv[1]) if sys.argv[1:] else 200
    words = ["task=inpaint", "vae=lean", "distill.zero_head=false", "output=x"]
    words += ["distill.student_from=bundled:tiny/student_inpaint_lean"]
    found: dict[str, dict[int, float]] = {}
    targets, held_out, start = [], [], None
    for kind in KINDS:
        cfg = compose("train", [*words, f"distill.critic_loss={kind}"])
        losses = build_losses(cfg, settings_from(cfg))
        if start is None:
            targets, held_out = (outputs(losses, *one) for one in (("train", TRAINED), ("val", HELD_OUT)))  # fmt: skip
            start = copy.deepcopy(losses.critic.state_dict())
            found["teacher"] = errors(losses, held_out)
        losses.critic.load_state_dict(start)
        trained(losses, targets, steps)
        found[kind] = errors(losses, held_out)
        print(kind, found[kind], flush=True)
    about = {
        "date": today(), "commit": code_version(), "torch": torch.__version__, "machine": machine(),
        "steps": steps, "clips": [TRAINED, HELD_OUT], "shift": losses.settings.shift,
    }  # fmt: skip
    write_text(
        HERE / "results.json", json.dumps({"about": about, "errors": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
