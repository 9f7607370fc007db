"""What no timing of a whole solver shows: `python on_device.py correct|kernels|training result.json KEY=VALUE...`.

correct: a bundled student on the device against the CPU, in pieces against at once, bfloat16 against
float32, and operators; exits with 1 where a bound is broken. kernels: convolutions in both exact forms,
and attention's backends, at the sizes of `model`. training: seconds and memory of one student and one
critic step with random weights (keys of conf/train.yaml). Not run on a GPU so far;
tests/experiments/test_first_hour.py runs it on the CPU and on fake CUDA.
"""

import copy
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lvis import Restorer
from lvis.benchmark.build import attention_backend
from lvis.benchmark.machine import describe, synchronise
from lvis.cli.config import compose
from lvis.data.synthetic import synthetic_clip
from lvis.distill.build import settings_from
from lvis.distill.losses import Losses
from lvis.distill.randomness import Draws
from lvis.errors import UserError
from lvis.files import write_text
from lvis.hardware import pick_device
from lvis.kernels import convolution
from lvis.metrics.peak_memory import PeakMemory
from lvis.plan.networks import Embeddings
from lvis.weights.load import to_dtype

FRAMES, SIDE = 33, 64
# largest differences in units of [-1, 1]; IEEE float32 on both sides, or a root mean square
BOUNDS = {"device": 2e-3, "pieces": 1e-5, "bf16_rms": 0.01, "operator": 1e-4}


def correct(device: torch.device, keys: list[str]) -> dict[str, Any]:
    """Differences by name; those above their bound are listed in `broken`."""
    found: dict[str, float] = {}
    clip = synthetic_clip(0, 0, FRAMES, (SIDE, SIDE)).video[None]
    cases = [(task, vae, "student") for task in ("deblur", "sr4") for vae in ("lean", "wan")]
    for task, vae, solver in [*cases, ("temporal_average", "lean", "pinv")]:
        name = f"{task} {vae} {solver}"
        overrides = [f"vae={vae}", *keys]
        choose = partial(Restorer.from_pretrained, "tiny", task, solver, overrides=overrides)
        here = choose(device="cpu", precision="fp32")
        measured = here.operator.measure(clip, torch.Generator().manual_seed(0))
        expected = here(measured)
        there = choose(device=str(device), precision="fp32")
        moved = measured.to(device)
        whole = there(moved)
        found[f"device {name}"] = _most(whole, expected)
        with there.stream((measured.shape[3], measured.shape[4])) as stream:
            parts = [x for y in moved.split(1, dim=2) for x in stream.push(y)] + stream.finish()
        found[f"pieces {name}"] = _most(torch.cat(parts, dim=2), whole)
        half = choose(device=str(device), precision="bf16")(moved)
        found[f"bf16_rms {name}"] = float((half.cpu() - expected).square().mean().sqrt())
        operator = copy.deepcopy(here.operator).to(device)
        for method in ("lift", "adjoint", "pinv"):
            answers = (
                getattr(one, method)(y) for one, y in ((operator, moved), (here.operator, measured))
            )
            found[f"operator {method} {name}"] = _most(*answers)
    broken = [name for name, value in found.items() if not value <= BOUNDS[name.split()[0]]]
    return {"differences": found, "bounds": BOUNDS, "broken": broken}


def kernels(device: torch.device, keys: list[str]) -> dict[str, Any]:
    """Seconds and largest difference of each convolution's forms; seconds of each attention backend."""
    full = "model=tiny" not in keys
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for name, shape, kernel in _convolutions(full):
            x, weight = (torch.randn(size, device=device).to(dtype) for size in (shape, kernel))
            forms = {
                form: partial(getattr(convolution, f"{name}_{form}"), x, weight, None)
                for form in ("direct", "taps")
            }
            seconds = {form: _seconds(run, device) for form, run in forms.items()}
            backward = {
                form: _seconds(_backward(run, x, weight), device) for form, run in forms.items()
            }
            difference = _most(*(run() for run in forms.values()))
            row = {"what": name, "shape": shape, "kernel": kernel, "dtype": str(dtype)}
            rows.append(
                {**row, "seconds": seconds, "with_backward": backward, "difference": difference}
            )
    heads, width, queries, window = (12, 128, 4680, 32760) if full else (2, 16, 48, 336)
    query, key, value = (
        torch.randn(1, heads, length, width, device=device).to(torch.bfloat16)
        for length in (queries, window, window)
    )
    attention: dict[str, Any] = {}
    for backend in ("auto", "cudnn", "flash", "efficient"):
        run = partial(torch.nn.functional.scaled_dot_product_attention, query, key, value)
        try:
            with attention_backend(backend, device):
                attention[backend] = _seconds(run, device)
        except UserError as error:
            attention[backend] = str(error)
    return {"convolutions": rows, "attention": attention}


def training(device: torch.device, keys: list[str]) -> dict[str, Any]:
    """Seconds and peak bytes of the second of two steps, without an optimiser and its moments."""
    cfg = compose("train", ["task=inpaint", "vae=lean", "distill.autocast=bf16", *keys])
    memory = PeakMemory(device)
    losses = losses_of(cfg, device)
    frames = int(cfg.model.frames)
    shape = (1, 3, frames, *map(int, cfg.model.size))
    seconds: dict[str, float] = {}
    for number in range(2):
        draws = Draws(0, number, range(1))
        clean = torch.zeros(shape, device=device)
        measured = losses.measure(clean, ["a prompt"], draws["measurement"])
        began = _now(device)
        terms, target = losses.student_terms(measured, draws, losses.settings.prior_weight)
        seconds["student: forward"] = _now(device) - began
        for name, loss in (
            ("student", partial(terms.pop, "total")),
            ("critic", partial(losses.critic_term, target, measured.prompts, draws)),
        ):
            began = _now(device)
            loss().backward()
            getattr(losses, name).zero_grad(set_to_none=True)
            seconds[f"{name}: backward" if name == "student" else name] = _now(device) - began
    return {"seconds": seconds, "peak_memory_bytes": memory.peak, "shape": shape}


def losses_of(cfg: DictConfig, device: torch.device) -> Losses:
    """The losses of a training with random weights and a text encoder of zeros."""
    teacher = _random(cfg.model.teacher)
    student, critic = copy.deepcopy(teacher).float(), copy.deepcopy(teacher).float()
    teacher_vae = _random(cfg.model.teacher_vae)
    student_vae = teacher_vae if cfg.vae.name == "wan" else _random(cfg.vae.module)
    for vae in (teacher_vae, student_vae):
        vae.encode_dtype = to_dtype(cfg.distill.encode_dtype)
        vae.decode_dtype = to_dtype(cfg.distill.decode_dtype)
    text = Embeddings(teacher.text_len or int(cfg.model.text_len), teacher.text_dim)
    return Losses(
        student=student.to(device),
        teacher=teacher.to(device, to_dtype(cfg.distill.teacher_dtype)),
        critic=critic.to(device),
        student_vae=student_vae.to(device),
        teacher_vae=teacher_vae.to(device),
        operator=instantiate(cfg.task.operator),
        encode_text=text,
        settings=settings_from(cfg),
    )


def _random(node: DictConfig) -> Any:
    plain: Any = OmegaConf.to_container(node, resolve=True)
    return instantiate({**plain, "weights": "random"})


def _convolutions(full: bool) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Shapes of a steady block: LeanVAE's three widths, and Wan's decoder from the latents to the pixels."""
    if not full:
        return [
            ("depthwise", (1, 5, 8, 8, 16), (16, 1, 3, 3, 3)),
            ("dense", (1, 16, 5, 8, 8), (16, 16, 3, 3, 3)),
        ]
    wide = [(1, 5, 60, 104, width) for width in (128, 384, 512)]
    dense = [
        ((1, 384, 5, 60, 104), 384),
        ((1, 192, 14, 240, 416), 192),
        ((1, 96, 14, 480, 832), 96),
    ]
    return [
        *(("depthwise", shape, (shape[-1], 1, 3, 3, 3)) for shape in wide),
        *(("dense", shape, (width, width, 3, 3, 3)) for shape, width in dense),
    ]


def _backward(run: Callable[[], Tensor], x: Tensor, weight: Tensor) -> Callable[[], None]:
    def both() -> None:
        x.requires_grad_()
        weight.requires_grad_()
        run().float().sum().backward()
        x.grad = weight.grad = None

    return both


def _seconds(run: Callable[[], Any], device: torch.device, runs: int = 5) -> float:
    if device.type == "cuda":
        return convolution.device_seconds(run, runs)
    run()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _most(one: Any, other: Any) -> float:
    return float((one.detach().float().cpu() - other.detach().float().cpu()).abs().max())


def _now(device: torch.device) -> float:
    synchronise(device)
    return time.perf_counter()


def main(part: str, target: str, *keys: str) -> int:
    device = pick_device(next((k.split("=")[1] for k in keys if k.startswith("device=")), "auto"))
    rest = [key for key in keys if not key.startswith("device=")]
    run = {"correct": correct, "kernels": kernels, "training": training}[part]
    result = {"part": part, "machine": describe(device), **run(device, rest)}
    text = json.dumps(result, indent=1)
    print(text)
    if result.get("broken"):
        # not written: the part is run again
        return 1
    write_text(target, text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
